/**
 * Runs a plan: each trial in a fresh process under the tracing runner. What came back becomes records in
 * trial-records.ts.
 */
import { DEFAULT_TIMEOUT_MS, HONEST_TIMEOUT_MS } from '../experiment/case.js';
import { jobOutput, type TrialSettings, type WarmJob } from '../experiment/protocol.js';
import { BUILT } from '../record/paths.js';
import type { CorruptionRecord, RunRecord, SkippedRecord } from '../record/records.js';
import type { Verdict } from '../record/words.js';
import type { Executor } from './executor.js';
import type { PlannedCorruption, PlannedTrial } from './plan.js';
import { corruptionRecord, honestRecord, joinRepetitions } from './trial-records.js';

/** For a trial's set-up, in ms in the native lane: its time limit counts from there. */
const SET_UP_MS = 15_000;

/** Beyond the trial's own limit, before the tracing runner itself counts as stuck. */
const GRACE_MS = 10_000;

function settingsOf(
  { lane, deny, keys, harden, keysHere, seed, kernel }: PlannedTrial,
  more: Pick<TrialSettings, 'imageFile' | 'bareGate'>,
): TrialSettings {
  return { lane, deny, keys, keysHere, seed, kernel, ...(harden === undefined ? {} : { harden }), ...more };
}

/** The command of one trial. `names`: of honest work, more than one case may share a process. */
export function trialCommand(
  trial: PlannedTrial,
  timeoutMs: number,
  setUpMs: number,
  more: Pick<TrialSettings, 'imageFile' | 'bareGate'> = {},
  names: readonly string[] = [trial.name],
): readonly string[] {
  const own = trial.kind === 'corruption' ? trial.experiment.command?.(trial) : undefined;
  return [
    BUILT.watch,
    '--timeout-ms',
    String(timeoutMs),
    '--set-up-ms',
    String(setUpMs),
    '--',
    ...(own ?? [
      'node',
      '--expose-gc',
      BUILT.trial,
      trial.kind,
      names.join(','),
      trial.mechanism,
      JSON.stringify(settingsOf(trial, more)),
    ]),
  ];
}

/** Runs `work` on every item, `limit` at a time, results in the items' order. */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) {
      const item = items[at] as T;
      results[at] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(limit, items.length)) }, worker));
  return results;
}

export interface RunTrialsOptions {
  readonly imageFile?: string;
  /** See TrialSettings. */
  readonly bareGate?: boolean;
  readonly onDone?: (record: RunRecord) => void;
}

/** Honest trials of one mechanism share a process; each corruption trial has its own. Pure. */
export function groupTrials(trials: readonly PlannedTrial[]): readonly (readonly PlannedTrial[])[] {
  const groups = new Map<string, PlannedTrial[]>();
  trials.forEach((trial, at) => {
    const key = trial.kind === 'honest' ? `honest ${trial.mechanism} ${trial.lane} ${trial.harden ?? ''}` : String(at);
    groups.set(key, [...(groups.get(key) ?? []), trial]);
  });
  return [...groups.values()];
}

interface Lane {
  readonly executor: Executor;
  /**
   * Setting up may take so many times as long here as natively: the executor's slowness, or more where the calibration
   * says so.
   */
  readonly slowness: number;
  /** What follows, by which a trial is judged `hung`, likewise. */
  readonly limits: number;
  readonly more: Pick<TrialSettings, 'imageFile' | 'bareGate'>;
}

/** A trial's limit in ms: how long it may take once it is set up. */
function limitOf(trial: PlannedTrial, slowness: number): number {
  return (trial.experiment.timeoutMs ?? (trial.kind === 'honest' ? HONEST_TIMEOUT_MS : DEFAULT_TIMEOUT_MS)) * slowness;
}

async function runGroup(
  { executor, slowness, limits, more }: Lane,
  group: readonly PlannedTrial[],
): Promise<readonly RunRecord[]> {
  const [first] = group;
  if (first === undefined) return [];
  const timeoutMs = group.reduce((sum, trial) => sum + limitOf(trial, limits), 0);
  const setUpMs = SET_UP_MS * slowness;
  const own = first.kind === 'corruption' ? executor.trialCommand?.(first) : undefined;
  const names = group.map((trial) => trial.name);
  const command = own ?? trialCommand(first, timeoutMs, setUpMs, more, names);
  const result = await executor.run(command, { timeoutMs: setUpMs + timeoutMs + GRACE_MS * slowness });
  return group.map((trial) =>
    trial.kind === 'corruption' ? corruptionRecord(trial, result) : honestRecord(trial, result),
  );
}

/** Where one of several went wrong, each is tried alone: the others are not to blame. */
async function runFresh(lane: Lane, group: readonly PlannedTrial[]): Promise<readonly RunRecord[]> {
  const of = await runGroup(lane, group);
  if (group.length === 1 || of.every((record) => record.kind === 'honest' && record.outcome === 'same')) return of;
  return (await inParallel(group, 1, (trial) => runGroup(lane, [trial]))).flat();
}

/** Trials forked from one warm host; undefined for those that it did not come to. */
async function runWarm(
  { executor, slowness, limits, more }: Lane,
  batch: readonly PlannedCorruption[],
): Promise<readonly (CorruptionRecord | SkippedRecord | undefined)[]> {
  const setUpMs = SET_UP_MS * slowness;
  const jobs = batch.map((trial): WarmJob => ({
    name: trial.name,
    mechanism: trial.mechanism,
    timeoutMs: limitOf(trial, limits),
    setUpMs,
    settings: settingsOf(trial, more),
  }));
  const timeoutMs = jobs.reduce((sum, one) => sum + one.timeoutMs, 0) + setUpMs * 2 + GRACE_MS * slowness;
  const result = await executor.run(
    ['node', '--expose-gc', '--single-threaded', BUILT.trial, 'warm', JSON.stringify(jobs)],
    { timeoutMs },
  );
  return batch.map((trial, job) => {
    const stdout = jobOutput(result.stdout, job);
    return stdout === ''
      ? undefined
      : corruptionRecord(
          trial,
          { ...result, exitCode: 0, signal: null, stdout, stderr: jobOutput(result.stderr, job) },
          job,
        );
  });
}

/**
 * How long a plain honest trial takes on an unloaded machine, in ms, with room to spare; a slower lane gets more time
 * for each trial.
 */
const CALIBRATION_MS = 400;
/** A run of fewer trials than this is not worth a calibration. */
const CALIBRATED_FROM = 20;

/** Times a plain honest trial, as many at once as trials will be. The lane's slowness. */
async function calibrate(executor: Executor, kernel: string): Promise<number> {
  const settings: TrialSettings = {
    lane: executor.lane,
    deny: 'write',
    keys: 'image',
    keysHere: executor.context.keys,
    seed: 1,
    kernel,
  };
  const command = [
    BUILT.watch,
    '--timeout-ms',
    '120000',
    '--',
    'node',
    '--expose-gc',
    BUILT.trial,
    'honest',
    'qsort',
    'flag',
    JSON.stringify(settings),
  ];
  const once = async (): Promise<number> => {
    const start = performance.now();
    await executor.run(command, { timeoutMs: 130_000 });
    return performance.now() - start;
  };
  await once(); // the first one also reads the files
  const times = await Promise.all(Array.from({ length: executor.concurrency }, once));
  return Math.ceil(Math.max(executor.slowness, Math.max(...times) / CALIBRATION_MS));
}

/** Trials of a warm host. */
const BATCH = 24;
/** Trials that are expected to hang mostly wait; so many more at a time. */
const WAITING = 5;

const isUnexpectedHang = (record: RunRecord | undefined): boolean =>
  record?.kind === 'corruption' && record.verdict === 'hung' && !record.expected.verdicts.includes('hung');
const cellOf = ({ name, mechanism, deny, keys, harden }: PlannedTrial): string =>
  JSON.stringify([name, mechanism, deny, keys, harden]);

/**
 * Runs trials in one lane. Records of repetitions are joined; honest ones are compared by the caller, over all lanes.
 *
 * Each trial has a process of its own. A cell's first repetition is a fresh Node; the others are forked from warm hosts
 * (warm.c). Where one of those disagrees with the first, a fresh process takes its place, since what counts is what a
 * VM does. Fresh processes then take the place of the case's later ones too. A `hung` that was not expected is tried
 * once more, alone, before it is believed.
 */
export async function runTrials(
  executor: Executor,
  trials: readonly PlannedTrial[],
  options: RunTrialsOptions = {},
): Promise<readonly RunRecord[]> {
  const { imageFile, bareGate, onDone } = options;
  const more = { ...(imageFile === undefined ? {} : { imageFile }), ...(bareGate === undefined ? {} : { bareGate }) };
  const [some] = trials;
  const ownProgram = executor.trialCommand !== undefined;
  const slowness =
    some !== undefined && trials.length >= CALIBRATED_FROM && !ownProgram
      ? await calibrate(executor, some.kernel)
      : executor.slowness;
  const lane: Lane = { executor, slowness, limits: slowness, more };
  const records = new Map<PlannedTrial, RunRecord>();
  const firsts = new Map<string, Verdict>();
  const freshOnly = new Set<string>();
  const settle = (trial: PlannedTrial, record: RunRecord): void => {
    records.set(trial, record);
    if (record.kind === 'corruption' && trial.repeat === 0) firsts.set(cellOf(trial), record.verdict);
    onDone?.(record);
  };
  const fresh = async (group: readonly PlannedTrial[], where = lane): Promise<void> => {
    const of = await runFresh(where, group);
    group.forEach((trial, at) => {
      const record = of[at];
      if (record !== undefined) settle(trial, record);
    });
  };
  const hangs = (trial: PlannedTrial): boolean =>
    trial.kind === 'corruption' && trial.experiment.expected(trial).verdicts[0] === 'hung';
  const isWarm = (trial: PlannedTrial): trial is PlannedCorruption =>
    !ownProgram &&
    trial.kind === 'corruption' &&
    trial.repeat > 0 &&
    trial.harden === undefined && // a filter and a seal are the process's, for good
    trial.experiment.command === undefined &&
    !hangs(trial);

  await inParallel(groupTrials(trials.filter((trial) => !hangs(trial) && !isWarm(trial))), executor.concurrency, fresh);
  const warm = trials.filter(isWarm);
  const batches = Array.from({ length: Math.ceil(warm.length / BATCH) }, (_, at) =>
    warm.slice(at * BATCH, (at + 1) * BATCH),
  );
  await inParallel(batches, executor.concurrency, async (batch) => {
    const forked = batch.filter((trial) => !freshOnly.has(trial.name));
    const of = forked.length === 0 ? [] : await runWarm(lane, forked);
    for (const trial of batch) {
      const record = of[forked.indexOf(trial)];
      if (record?.kind === 'corruption' && record.verdict === firsts.get(cellOf(trial))) settle(trial, record);
      else {
        if (record !== undefined) freshOnly.add(trial.name);
        await fresh([trial]);
      }
    }
  });
  // Those that hang wait for their whole limit: no more of it than this lane always has.
  await inParallel(
    trials.filter(hangs).map((trial) => [trial]),
    executor.concurrency * WAITING,
    (group) => fresh(group, { ...lane, limits: executor.slowness }),
  );
  for (const [trial, record] of records) if (isUnexpectedHang(record)) await fresh([trial]);

  const inOrder = trials.flatMap((trial) => records.get(trial) ?? []);
  const corruption = joinRepetitions(inOrder.filter((record) => record.kind === 'corruption'));
  return [...corruption, ...inOrder.filter((record) => record.kind !== 'corruption')];
}
