/**
 * What a case is given, in the trial's process: an image with its snapshot, a guard around foreign libraries, and the
 * evidence that becomes a record.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';

import { type CalloutError, Guard, type GuardedLibrary, type HardenOptions } from '../callout/index.js';
import { ffi } from '../callout/koffi.js';
import {
  type ForeignFunction,
  type ForeignLibrary,
  type HonestTrial,
  type TrialLoan,
  type TrialSpace,
} from '../experiment/case.js';
import { type TrialSettings } from '../experiment/protocol.js';
import { ImageError } from '../image/errors.js';
import { Image } from '../image/image.js';
import { BUILT, inProject } from '../record/paths.js';
import { randomBelow } from '../record/random.js';
import { type DiffEvidence, type FaultEvidence, type HeapEvidence, type RestoreEvidence } from '../record/records.js';
import { TRIAL_SPACES } from '../record/trial-image.js';
import { type Denial, type GuardMechanism, type Hardened, type KeyMode, type Lane } from '../record/words.js';
import { errnoName, lostBytes, moduleAt, privateCopy, tellWatch, vmModules } from './process.js';
import { say } from './say.js';

const FILE_BYTES = 256 * 1024;
const FOREIGN = inProject(BUILT.foreign);
const PAGE = 4096n;
const MOST_RANGES = 8;

const hex = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16)}`;

/** The image, the guard and everything else that a case is given. */
export class TrialRig implements HonestTrial {
  readonly image: Image;
  readonly guard: Guard;
  readonly mechanism: GuardMechanism;
  readonly lane: Lane;
  readonly deny: Denial;
  readonly keys: KeyMode;
  readonly harden: Hardened | undefined;
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
  /** The case is about what the search for WRPKRU finds: the foreign library is searched like any other. */
  scanned = false;
  answer: string | null = null;
  errno: string | null = null;
  readonly #libraries = new Map<string, GuardedLibrary>();
  #file: { readonly name: string; readonly bytes: Buffer } | undefined;

  constructor(mechanism: GuardMechanism, settings: TrialSettings) {
    this.mechanism = mechanism;
    this.lane = settings.lane;
    this.deny = settings.deny;
    this.keys = settings.keys;
    this.harden = settings.harden;
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
    this.guard = new Guard({
      image: this.image,
      mechanism,
      response: 'always',
      bareGate: settings.bareGate ?? false,
      ...this.#hardening,
    });
    this.image.fill(settings.seed);
    if (imageFile !== undefined) this.image.load(imageFile);
    this.image.snapshot();
    const spaces = TRIAL_SPACES.map(({ name }) => this.image.space(name));
    this.spaces = spaces.map(({ name, address, bytes }) => ({ name, address, bytes }));
    this.spaceKeys = new Map(spaces.map(({ name, key }) => [name, key]));
  }

  get #hardening(): HardenOptions {
    switch (this.harden) {
      case undefined:
        return {};
      case 'all':
        return { harden: true };
      case 'seccomp':
        return { filter: { way: 'seccomp' } };
      default:
        return { harden: [this.harden] };
    }
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
    const found = this.spaces.find((space) => space.name === name);
    if (found === undefined) throw new RangeError(`there is no space '${name}'`);
    return found;
  }

  library(name: string, deep = false): ForeignLibrary {
    let library = this.#libraries.get(name);
    if (library === undefined) {
      // the foreign library holds WRPKRU for the cases about it. For all others the VM itself loads it first: the
      // filter refuses it as code, too
      const known = name === FOREIGN && !this.scanned;
      if (known && this.harden === 'all') ffi.load(name);
      library = this.guard.load(name, { deep, ...(known ? { scan: 'off' } : {}) });
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
    return this.library(FOREIGN).func(signature);
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

  /* A virtual key changes, so the trap records it at the fault. Other keys are what they were at the start. */
  #keyOf(space: string, error: CalloutError): number | null {
    return (this.keys === 'virtual' ? error.spaceKey : this.spaceKeys.get(space)) ?? null;
  }

  evidence(error: CalloutError): FaultEvidence {
    return {
      signal: error.signal,
      siCode: error.siCode,
      siCodeName: error.siCodeName,
      ...(error.systemCall === undefined ? {} : { systemCall: error.systemCall.name }),
      address: hex(error.address),
      access: error.access,
      pkey: error.pkey ?? null,
      space: error.space ?? null,
      spaceKey: error.space === undefined ? null : this.#keyOf(error.space, error),
      ...(error.record.spaceMoves === 0 ? {} : { spaceMoves: error.record.spaceMoves }),
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
