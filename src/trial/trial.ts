/**
 * The program of one trial, in a process of its own:
 *
 *   node --expose-gc trial.js corruption CASE MECHANISM SETTINGS-JSON
 *   node --expose-gc trial.js honest CASE[,CASE...] MECHANISM SETTINGS-JSON
 *
 *   node --expose-gc --single-threaded trial.js warm JOBS-JSON  
 *       (WarmJob[]: corruption trials, each forked from this process; warm.c)
 *
 * Makes an image, a guard and the case's callouts, then the aftermath, and prints what it saw as lines for protocol.ts.
 * It gives no verdict. The same program in every lane.
 */
import { CalloutError } from '../callout/index.js';
import { ffi } from '../callout/koffi.js';
import { loadCorruption, loadHonest } from '../experiment/catalogue.js';
import { type CalledMessage, JOB_MARK, type TrialSettings, type WarmJob } from '../experiment/protocol.js';
import { BUILT, inProject } from '../record/paths.js';
import { type FaultEvidence } from '../record/records.js';
import { isGuardMechanism } from '../record/words.js';
import { aftermath } from './aftermath.js';
import { errnoName, tellWatch, vmModules } from './process.js';
import { TrialRig } from './rig.js';
import { say, sayAsJob, writeWhole } from './say.js';

async function corruption(name: string, rig: TrialRig): Promise<void> {
  const experiment = await loadCorruption(name);
  rig.announce();
  rig.scanned = experiment.remedy?.kinds.includes('scan') === true;
  let fault: FaultEvidence | null = null;
  let keptOut: string | null = null;
  try {
    await experiment.run(rig);
  } catch (error) {
    if (error instanceof CalloutError) fault = rig.evidence(error);
    else if (error instanceof Error && 'code' in error && error.code === 'ERR_SCAN_REFUSED') keptOut = error.message;
    else throw error;
  }
  rig.scanned = false;
  const called: CalledMessage = {
    stage: 'called',
    inapplicable: null,
    fault,
    answer: rig.answer,
    errno: rig.errno,
    disclosed: rig.disclosed,
    keptOut,
    notes: rig.notes,
  };
  say(called);
  const steps = await aftermath({
    load: (library) => rig.library(library),
    verify: () => rig.verify().text,
    onThread: (fn, ...args) =>
      !('async' in fn)
        ? Promise.reject(new Error('this function has no async form'))
        : new Promise((resolve, reject) => {
            (fn as unknown as { async: (...given: unknown[]) => void }).async(
              ...args,
              (error: unknown, result: unknown) => {
                // oxlint-disable-next-line typescript/no-base-to-string -- whatever was thrown, in words
                if (error != null) reject(error instanceof Error ? error : new Error(String(error)));
                else resolve(result);
              },
            );
          }),
  });
  const diff = rig.diff();
  const canaries = rig.canaries.map(({ name: canary, intact }) => ({ name: canary, intact: intact() }));
  say({
    stage: 'finished',
    aftermath: steps,
    diff,
    canaries,
    ...(diff.changedBytes > 0 ? { restored: rig.restore() } : {}),
  });
}

async function honest(names: readonly string[], rig: TrialRig): Promise<void> {
  // not for all: it costs a trial's start a tenth in the emulated lane
  const { createHash } = await import('node:crypto');
  rig.announce();
  for (const name of names) {
    const experiment = await loadHonest(name);
    rig.begin();
    await experiment.run(rig);
    const bytes = Buffer.concat(rig.bytesPut);
    say({
      stage: 'honest',
      case: name,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes: bytes.length,
      callouts: rig.callouts,
      imageEqual: rig.diff().changedBytes === 0,
    });
  }
}

async function runTrial(family: string, name: string, mechanism: string, settings: TrialSettings): Promise<void> {
  if (!isGuardMechanism(mechanism)) throw new Error(`there is no mechanism '${mechanism}'`);
  const rig = new TrialRig(mechanism, settings);
  if (family === 'corruption') await corruption(name, rig);
  else if (family === 'honest') await honest(name.split(','), rig);
  else throw new Error(`there is no family '${family}' of trials`);
}

/** Runs it to its end; the exit code. */
async function complete(family: string, name: string, mechanism: string, settings: TrialSettings): Promise<number> {
  try {
    await runTrial(family, name, mechanism, settings);
    return 0;
  } catch (error) {
    say({ stage: 'failed', reason: error instanceof Error ? error.message : String(error) });
    return 1;
  } finally {
    tellWatch('done');
  }
}

/**
 * The warm host: what trials do first is done once here, so that its code is there and compiled. Then one fork for
 * each.
 */
async function host(jobs: readonly WarmJob[]): Promise<void> {
  const warm = ffi.load(inProject(BUILT.warm));
  const fork = warm.func('int turnkey_warm(long timeout_ms, long set_up_ms)') as (
    timeoutMs: number,
    setUpMs: number,
  ) => number;
  const leave = warm.func('void turnkey_leave(int code)') as (code: number) => void;
  for (const name of new Set(jobs.map((job) => job.name))) await loadCorruption(name);
  const [first] = jobs;
  if (first !== undefined) {
    const rehearsal = new TrialRig(first.mechanism, first.settings);
    rehearsal.foreign('int foreign_add(int a, int b)')(1, 2);
    rehearsal.diff();
    vmModules();
    rehearsal.guard.close();
    rehearsal.image.close();
  }
  for (const [index, { name, mechanism, timeoutMs, setUpMs, settings }] of jobs.entries()) {
    for (const descriptor of [1, 2] as const) writeWhole(descriptor, `\n${JOB_MARK}${index}\n`);
    const which = fork(timeoutMs, setUpMs);
    if (which < 0) throw new Error(`fork failed: ${errnoName(-which)}`);
    if (which > 0) continue;
    sayAsJob(index);
    leave(await complete('corruption', name, mechanism, settings));
  }
}

async function main([family = '', name = '', mechanism = '', text = '{}']: readonly string[]): Promise<number> {
  if (family !== 'warm') return complete(family, name, mechanism, JSON.parse(text) as TrialSettings);
  await host(JSON.parse(name) as readonly WarmJob[]);
  return 0;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    writeWhole(2, `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);
