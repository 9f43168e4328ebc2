/**
 * The program of one trial, in a process of its own:
 *
 *   node --expose-gc trial.js corruption CASE MECHANISM SETTINGS-JSON
 *   node --expose-gc trial.js honest CASE[,CASE...] MECHANISM SETTINGS-JSON
 *
 *   node --expose-gc --single-threaded trial.js warm JOBS-JSON    (WarmJob[]: corruption trials, each forked from this
 * process; warm.c)
 *
 * Makes an image, a guard and the case's callouts, then the aftermath, and prints what it saw as lines for protocol.ts.
 * It gives no verdict. The same program in every lane.
 */
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';

import { CalloutError, Guard, type GuardedLibrary } from '../callout/index.js';
import { ffi } from '../callout/koffi.js';
import type { ForeignFunction, ForeignLibrary, HonestTrial, TrialLoan, TrialSpace } from '../experiment/case.js';
import { loadCorruption, loadHonest } from '../experiment/catalogue.js';
import {
  type CalledMessage,
  JOB_MARK,
  TRIAL_MARK,
  type TrialMessage,
  type TrialSettings,
  type WarmJob,
} from '../experiment/protocol.js';
import { ImageError } from '../image/errors.js';
import { Image } from '../image/image.js';
import { BUILT, inProject } from '../record/paths.js';
import { randomBelow } from '../record/random.js';
import type { DiffEvidence, FaultEvidence, HeapEvidence, RestoreEvidence } from '../record/records.js';
import { TRIAL_SPACES } from '../record/trial-image.js';
import { type Denial, type GuardMechanism, isGuardMechanism, type KeyMode, type Lane } from '../record/words.js';
import { aftermath } from './aftermath.js';
import { errnoName, lostBytes, moduleAt, privateCopy, tellWatch, vmModules } from './process.js';

const FILE_BYTES = 256 * 1024;
const PAGE = 4096n;
const MOST_RANGES = 8;

/** Which of a warm host's trials this is. */
let job: number | undefined;

function writeWhole(descriptor: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
}

/** Whole lines only, at once: the process may die in the next instruction. */
function say(message: TrialMessage): void {
  writeWhole(1, `\n${TRIAL_MARK}${JSON.stringify(job === undefined ? message : { ...message, job })}\n`);
}

const hex = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16)}`;

/** A trial's image, guard and all that a case is given. */
class Bench implements HonestTrial {
  readonly image: Image;
  readonly guard: Guard;
  readonly mechanism: GuardMechanism;
  readonly lane: Lane;
  readonly deny: Denial;
  readonly keys: KeyMode;
  readonly keysHere: boolean;
  readonly kernel: string;
  readonly seed: number;
  random: (below: number) => number;
  readonly spaces: readonly TrialSpace[];
  readonly spaceKeys: ReadonlyMap<string, number>;
  readonly canaries: { readonly name: string; readonly intact: () => boolean }[] = [];
  readonly notes: string[] = [];
  readonly bytesPut: Buffer[] = [];
  callouts = 0;
  disclosed = false;
  answer: string | null = null;
  errno: string | null = null;
  readonly #libraries = new Map<string, GuardedLibrary>();
  #file: { readonly name: string; readonly bytes: Buffer } | undefined;

  constructor(mechanism: GuardMechanism, settings: TrialSettings) {
    this.mechanism = mechanism;
    this.lane = settings.lane;
    this.deny = settings.deny;
    this.keys = settings.keys;
    this.keysHere = settings.keysHere;
    this.kernel = settings.kernel;
    this.seed = settings.seed;
    this.random = randomBelow(settings.seed);
    const { imageFile } = settings;
    const fileBytes = imageFile === undefined ? 0 : statSync(imageFile).size;
    this.image = Image.map({
      keys: this.keys,
      spaces: TRIAL_SPACES.map(({ name, bytes }) => ({
        name,
        bytes: name === 'old' ? Math.max(bytes, fileBytes) : bytes,
        deny: this.deny,
      })),
    });
    this.guard = new Guard({ image: this.image, mechanism, response: 'always', bareGate: settings.bareGate ?? false });
    this.image.fill(settings.seed);
    if (imageFile !== undefined) this.image.load(imageFile);
    this.image.snapshot();
    const spaces = TRIAL_SPACES.map(({ name }) => this.image.space(name));
    this.spaces = spaces.map(({ name, address, bytes }) => ({ name, address, bytes }));
    this.spaceKeys = new Map(spaces.map(({ name, key }) => [name, key]));
  }

  /** Tells the tracing runner what to compare, and the runner where things are. */
  announce(): void {
    for (const { address, bytes } of this.spaces)
      tellWatch(`image ${hex(address)} ${hex(BigInt(bytes))} ${hex(privateCopy(address, bytes))}`);
    tellWatch(`began ${process.hrtime.bigint()}`);
    say({
      stage: 'set up',
      vmModules: vmModules(),
      spaces: this.spaces.map(({ name, address, bytes }) => ({
        name,
        address: hex(address),
        bytes,
        key: this.spaceKeys.get(name) ?? 0,
      })),
    });
  }

  /** Ready for the next case of honest work: the same numbers whatever went before. */
  begin(): void {
    this.bytesPut.length = 0;
    this.callouts = 0;
    this.random = randomBelow(this.seed);
  }

  space(name: string): TrialSpace {
    const found = this.spaces.find((one) => one.name === name);
    if (found === undefined) throw new RangeError(`there is no space '${name}'`);
    return found;
  }

  library(name: string, deep = false): ForeignLibrary {
    let library = this.#libraries.get(name);
    if (library === undefined) {
      library = this.guard.load(name, { deep });
      this.#libraries.set(name, library);
    }
    const loaded = library;
    return {
      func: (signature) => loaded.func(signature),
      symbol: (symbol) => loaded.symbol(symbol),
      unload: () => {
        this.#libraries.delete(name);
        loaded.unload();
      },
    };
  }

  foreign(signature: string): ForeignFunction {
    return this.library(inProject(BUILT.foreign)).func(signature);
  }

  unguarded(signature: string): ForeignFunction {
    return ffi.load(inProject(BUILT.foreign)).func(signature);
  }

  pageIn(space: string): bigint {
    const { address, bytes } = this.space(space);
    return address + PAGE * BigInt(1 + this.random(bytes / Number(PAGE) - 2));
  }

  addressIn(space: string, room = 8): bigint {
    const { address, bytes } = this.space(space);
    return address + 8n * BigInt(this.random(Math.floor((bytes - room) / 8) + 1));
  }

  read(space: string, offset: number, bytes: number): Buffer {
    return this.image.space(space).read(offset, bytes);
  }

  lend(bytes: number, flush: 'start' | 'end' = 'start'): TrialLoan {
    return this.image.lend(bytes, 'inout', { flush });
  }

  neighbour(bytes: number): { readonly address: bigint; readonly bytes: number } {
    const [first] = this.spaces;
    if (first === undefined) throw new RangeError('the image has no space');
    return { address: this.image.space(first.name).neighbour(bytes), bytes };
  }

  note(text: string): void {
    this.notes.push(text);
  }

  canary(name: string, intact: () => boolean): void {
    this.canaries.push({ name, intact });
  }

  disclose(): void {
    this.disclosed = true;
  }

  answered(result: unknown): void {
    this.answer = String(result);
    if ((typeof result === 'number' || typeof result === 'bigint') && result < 0)
      this.errno = errnoName(-Number(result));
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, ms);
    });
  }

  get file(): { readonly name: string; readonly bytes: Buffer } {
    if (this.#file === undefined) {
      const bytes = Buffer.alloc(FILE_BYTES);
      const file = openSync(process.execPath, 'r');
      readSync(file, bytes, 0, FILE_BYTES, 0);
      closeSync(file);
      this.#file = { name: 'node', bytes };
    }
    return this.#file;
  }

  callback(prototype: string): string {
    return `${ffi.proto(prototype).name} *`;
  }

  register(callback: (...args: never[]) => unknown, prototype: string): bigint {
    return this.guard.register(callback, ffi.pointer(ffi.proto(prototype)));
  }

  decode(pointer: unknown, type: string, length?: number): unknown {
    return length === undefined ? this.guard.decode(pointer, type) : this.guard.decode(pointer, type, length);
  }

  put(bytes: Uint8Array | string): void {
    this.bytesPut.push(typeof bytes === 'string' ? Buffer.from(`${bytes}\n`) : Buffer.from(bytes));
  }

  count(callouts: number): void {
    this.callouts += callouts;
  }

  evidence(error: CalloutError): FaultEvidence {
    return {
      signal: error.signal,
      siCode: error.siCode,
      siCodeName: error.siCodeName,
      address: hex(error.address),
      access: error.access,
      pkey: error.pkey ?? null,
      space: error.space ?? null,
      spaceKey: error.space === undefined ? null : (this.spaceKeys.get(error.space) ?? null),
      pc: hex(error.pc),
      pcModule: moduleAt(error.pc),
      symbol: error.symbol ?? null,
      phase: error.phase,
      image: error.image,
    };
  }

  verify(): HeapEvidence {
    const { ok, objects, problemCount, byKind } = this.image.verify();
    const problems = Object.entries(byKind).map(([kind, count]) => `${count} ${kind}`);
    return { sound: ok, text: ok ? `sound: ${objects} objects` : `${problemCount} problems: ${problems.join(', ')}` };
  }

  diff(): DiffEvidence {
    let difference;
    try {
      difference = this.image.diff();
    } catch (error) {
      if (!(error instanceof ImageError && error.code === 'ERR_IMAGE_UNMAPPED')) throw error;
      return {
        changedBytes: this.spaces.reduce((sum, { address, bytes }) => sum + lostBytes(address, bytes), 0),
        ranges: [],
        heap: { sound: false, text: error.message },
      };
    }
    return {
      changedBytes: difference.changedBytes,
      heap: this.verify(),
      ranges: difference.ranges.slice(0, MOST_RANGES).map(({ space, offset, bytes, object }) => ({
        space,
        offset,
        bytes,
        ...(object === undefined
          ? {}
          : {
              object: {
                offset: object.offset,
                bytes: object.bytes,
                classIndex: object.classIndex,
                slot: object.slot,
                isFree: object.isFree,
              },
            }),
      })),
    };
  }

  /** Back to the snapshot, and whether that is so. */
  restore(): RestoreEvidence {
    try {
      const bytes = this.image.restore();
      return { bytes, equal: this.image.diff().equal, heap: this.verify().text };
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      return { bytes: 0, equal: false, heap: error.message };
    }
  }
}

async function corruption(name: string, bench: Bench): Promise<void> {
  const experiment = await loadCorruption(name);
  bench.announce();
  let fault: FaultEvidence | null = null;
  try {
    await experiment.run(bench);
  } catch (error) {
    if (!(error instanceof CalloutError)) throw error;
    fault = bench.evidence(error);
  }
  const called: CalledMessage = {
    stage: 'called',
    inapplicable: null,
    fault,
    answer: bench.answer,
    errno: bench.errno,
    disclosed: bench.disclosed,
    notes: bench.notes,
  };
  say(called);
  const steps = await aftermath({
    load: (library) => bench.library(library),
    verify: () => bench.verify().text,
    onThread: (fn, ...args) =>
      !('async' in fn)
        ? Promise.reject(new Error('this function has no async form'))
        : new Promise((resolve, reject) => {
            (fn as unknown as { async: (...given: unknown[]) => void }).async(
              ...args,
              (error: unknown, result: unknown) => {
                if (error != null) reject(error);
                else resolve(result);
              },
            );
          }),
  });
  const diff = bench.diff();
  const canaries = bench.canaries.map(({ name: canary, intact }) => ({ name: canary, intact: intact() }));
  say({
    stage: 'finished',
    aftermath: steps,
    diff,
    canaries,
    ...(diff.changedBytes > 0 ? { restored: bench.restore() } : {}),
  });
}

async function honest(names: readonly string[], bench: Bench): Promise<void> {
  // not for all: it costs a trial's start a tenth in the emulated lane
  const { createHash } = await import('node:crypto');
  bench.announce();
  for (const name of names) {
    const experiment = await loadHonest(name);
    bench.begin();
    await experiment.run(bench);
    const bytes = Buffer.concat(bench.bytesPut);
    say({
      stage: 'honest',
      case: name,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes: bytes.length,
      callouts: bench.callouts,
      imageEqual: bench.diff().changedBytes === 0,
    });
  }
}

async function runTrial(family: string, name: string, mechanism: string, settings: TrialSettings): Promise<void> {
  if (!isGuardMechanism(mechanism)) throw new Error(`there is no mechanism '${mechanism}'`);
  const bench = new Bench(mechanism, settings);
  if (family === 'corruption') await corruption(name, bench);
  else if (family === 'honest') await honest(name.split(','), bench);
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
  for (const name of new Set(jobs.map((one) => one.name))) await loadCorruption(name);
  const [first] = jobs;
  if (first !== undefined) {
    const rehearsal = new Bench(first.mechanism, first.settings);
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
    job = index;
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
