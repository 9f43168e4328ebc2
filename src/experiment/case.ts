/**
 * What an experiment's file exports. The name of a case is its file's name; nothing has to be registered anywhere.
 */
import type { Image } from '../image/image.js';
import type { CostDescription } from '../record/description.js';
import type { CostRecord, Expectation, Remedy, Values } from '../record/records.js';
import type { Warning } from '../record/warnings.js';
import type {
  CaseGroup,
  CostLane,
  Denial,
  GuardMechanism,
  Hardened,
  KeyMode,
  Lane,
  Mechanism,
} from '../record/words.js';

/** A foreign function made callable. Pointers and 64-bit integers are bigint where a number does not hold them. */
export type ForeignFunction = (...args: unknown[]) => unknown;

/** A library whose functions are called through the guard. Signatures are C prototypes, as koffi reads them. */
export interface ForeignLibrary {
  func(signature: string): ForeignFunction;
  /** Address of a symbol: what foreign code is given as a function pointer. */
  symbol(name: string): bigint;
  /** Unloads it, through the guard: its destructors run. */
  unload(): void;
}

/** One space of the image. */
export interface TrialSpace {
  readonly name: string;
  readonly address: bigint;
  readonly bytes: number;
}

/** Memory lent to foreign code: pass it where a pointer is wanted, and the callout is one with a loan. */
export interface TrialLoan {
  readonly address: bigint;
  /** The lent bytes themselves, not a copy; empty once released. */
  readonly buffer: Uint8Array;
  release(): void;
}

/** What a case may vary with. */
export interface Setting {
  readonly mechanism: GuardMechanism;
  readonly lane: Lane;
  readonly deny: Denial;
  readonly keys: KeyMode;
  /** How the guard is hardened; not at all where missing. */
  readonly harden?: Hardened | undefined;
  /** The lane has protection keys: then the trap's own pages have one, whatever the mechanism (I11). */
  readonly keysHere: boolean;
  /** Version of the kernel that the trial runs on, e.g. 6.1; empty in `skip` while its machine is not booted. */
  readonly kernel: string;
}

/** What a case is given in its trial's process. Everything in it is made afresh for this one trial. */
export interface Trial extends Setting {
  readonly seed: number;
  /** The next number of the trial's own sequence, 0 <= n < below. Same seed, same numbers. */
  random(below: number): number;
  readonly spaces: readonly TrialSpace[];
  /** @throws RangeError if there is no such space */
  space(name: string): TrialSpace;
  /** The image itself: what the VM does with it. */
  readonly image: Image;
  /** A function of the foreign library (native/foreign/foreign.h), called through the guard. */
  foreign(signature: string): ForeignFunction;
  /** The same past the guard: what stands for native code of the VM's own, or for a callout that nobody guarded. */
  unguarded(signature: string): ForeignFunction;
  /**
   * Another library, loaded through the guard; `deep`: it prefers its own symbols to those that node exports
   * (RTLD_DEEPBIND).
   */
  library(name: string, deep?: boolean): ForeignLibrary;
  /**
   * Declares a callback type by its C prototype, `int Row(void *, int)`; what it returns names the parameter's type in
   * signatures.
   */
  callback(prototype: string): string;
  /** Registers a callback that outlives its callout; the code address to hand out. */
  register(callback: (...args: never[]) => unknown, prototype: string): bigint;
  /** An address in a space, 8-byte aligned, chosen by the seed, with at least `room` bytes after it in the space. */
  addressIn(space: string, room?: number): bigint;
  /** The address of a whole page of a space, chosen by the seed; not its first, not its last. */
  pageIn(space: string): bigint;
  /** The VM's own reading of `bytes` bytes of a space. */
  read(space: string, offset: number, bytes: number): Buffer;
  /**
   * Lends fresh memory, in pages of its own; `flush` is the side on which the guard page follows at once. Default
   * 'start'.
   */
  lend(bytes: number, flush?: 'start' | 'end'): TrialLoan;
  /**
   * A buffer of C's own, not of the image, whose last byte is followed at once by the first byte of the image's first
   * space.
   */
  neighbour(bytes: number): { readonly address: bigint; readonly bytes: number };
  /** Adds a line to the evidence. */
  note(text: string): void;
  /** Says that the host's memory `name` must still hold when the trial is over. */
  canary(name: string, intact: () => boolean): void;
  /** Says that foreign code has read what it should not have. */
  disclose(): void;
  /** Reports an errno that the foreign function answered as a negative number; other answers are kept as they are. */
  answered(result: unknown): void;
  /** Waits, with the event loop running. */
  wait(ms: number): Promise<void>;
}

/** One way in which foreign code damages a VM: experiments/corruption/<group>/NAME.ts. */
export interface CorruptionCase {
  readonly kind: 'corruption';
  /** What real bug it stands for, in one sentence. */
  readonly summary: string;
  /**
   * What would stop it where keys do not, for docs/limits.md: the kinds of remedies that it names, and one sentence.
   * Only for cases that keys leave open.
   */
  readonly remedy?: Remedy;
  /** Shared libraries it needs besides the C library, by file name. */
  readonly libraries?: readonly string[];
  /**
   * Belongs to the quick set: one case per group, or a few. 'everywhere': tried under each mechanism in each lane, not
   * only with keys where another lane of the run has the rest.
   */
  readonly quick?: true | 'everywhere';
  /** Time limit of a trial in the native lane, in ms; the default is DEFAULT_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** Why the case makes no sense in a setting; undefined where it does. Such a cell is a row that says so. */
  skip?(setting: Setting): string | undefined;
  expected(setting: Setting): Expectation;
  /**
   * Where hardening changes what is expected in another way than the remedy's kinds say (hardened.ts). Undefined:
   * nothing to add.
   */
  hardened?(harden: Hardened, setting: Setting): Expectation | undefined;
  /**
   * The callee makes a system call that the filter refuses, in either way of filtering, or only where calls are
   * dispatched: seccomp sees numbers and registers alone.
   */
  readonly refusedBy?: 'either' | 'dispatch';
  /**
   * A trial that another VM makes: its command in a setting, by paths in the project, in place of the trial process
   * that calls `run`. It prints what protocol.ts reads.
   */
  command?(setting: Setting): readonly string[];
  /**
   * Makes the callouts. A CalloutError is let through: it is the evidence. Returning normally means that nothing was
   * raised.
   */
  run(trial: Trial): unknown;
}

/** A case as the catalogue knows it: its folder is its group. */
export interface GroupedCase extends CorruptionCase {
  readonly group: CaseGroup;
}

/** What honest work is given. */
export interface HonestTrial extends Trial {
  /** A real file that is always there, of about 1 MiB at most. */
  readonly file: { readonly name: string; readonly bytes: Buffer };
  /** Reads memory that foreign code points at, by guarded, bounded copies. Types and shapes as in koffi.decode. */
  decode(pointer: unknown, type: string, length?: number): unknown;
  /** Adds to the bytes that are compared across mechanisms. */
  put(bytes: Uint8Array | string): void;
  /** Counts guarded callouts made. */
  count(callouts: number): void;
}

/** Work that a correct library does for the VM: the bytes must not depend on the mechanism. */
export interface HonestCase {
  readonly kind: 'honest';
  readonly summary: string;
  /** Shared libraries it needs, by file name. */
  readonly libraries: readonly string[];
  /** Time limit of a trial in the native lane, in ms; the default is HONEST_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  run(trial: HonestTrial): unknown;
}

/**
 * What a row of a cost experiment varies, and a reader of its record needs to know: names with units (`imageBytes`,
 * `pages`, `way`).
 */
export type CostParameters = Values;

/** What rows are asked for. */
export interface CostSetting {
  /** `native`: times. `emulated`: instructions, in a guest with one processor whose clock counts them. */
  readonly lane: CostLane;
  /** A few rows that take seconds, for `npm start`; else all of them. */
  readonly quick: boolean;
  /**
   * The lane has protection keys. Rows of mechanisms that need them are asked for all the same: the plan makes one
   * skipped row of them.
   */
  readonly keys: boolean;
  /** Processors of the machine that is timed. */
  readonly cores: number;
}

/** One row of a cost experiment: what becomes one cost record, or a skipped one. */
export interface CostRow {
  readonly mechanism: Mechanism;
  readonly parameters: CostParameters;
  /**
   * Rows with the same word are measured in the same rounds, in an order drawn anew for each round. So sample k of one
   * row can be set beside sample k of another. Where it is missing: the rows whose parameters are equal, that is, the
   * mechanisms of one variation.
   */
  readonly together?: string;
  /** What describes the row without telling it apart from others: goes to the record's `found`. */
  readonly about?: CostParameters;
  /** Its name on the report's ladder from a raw call up, where it is a rung. */
  readonly rung?: string;
  /** Why it cannot be had here. */
  readonly skip?: string;
  /** The record's lane where it is not the one measured in: `model` for a stand-in delay. */
  readonly lane?: 'model';
  /** What turnkey-bench is told instead of the parameters. Names and values without ':', ',' and '='. */
  readonly options?: CostParameters;
}

/** A cost experiment describes itself: a report needs no other word about it. */
interface CostExperimentBase extends CostDescription {
  readonly kind: 'cost';
  readonly summary: string;
  /** Its rows, plainest first. Pure: the same setting gives the same rows. */
  rows(setting: CostSetting): readonly CostRow[];
}

/**
 * A cost that turnkey-bench measures: in ns outside, in instructions in the counted guest, by the same binary. A row is
 * given to it as `bench:mechanism:name=value,...`, with true and false as 1 and 0; what it knows is in native/bench/.
 */
export interface BenchExperiment extends CostExperimentBase {
  readonly bench: string;
}

/** What one call of `measure` is about. */
export interface CostTrial {
  readonly row: CostRow;
  /** From 0; the rows that belong together are measured once in each. */
  readonly round: number;
  readonly quick: boolean;
  readonly seed: number;
  /** The next number of the trial's own sequence, 0 <= n < below. */
  random(below: number): number;
}

/**
 * What was measured: ns (of a program that is counted: instructions) of one operation, one entry per batch, what the
 * loop itself costs subtracted; or why it could not be.
 */
export type CostMeasurement =
  | {
      readonly samples: readonly number[];
      /** Operations in a batch. */
      readonly repeats?: number;
      readonly counts?: CostRecord['counts'];
      readonly warnings?: readonly Warning[];
      /** What was seen besides, for the record's `observed`; of several processes the sum. */
      readonly observed?: CostRecord['observed'];
      /** Batches before the first sample. */
      readonly warmUp?: number;
      /**
       * What the work itself came to: rows that are measured together must agree in it, or they did not do the same
       * work.
       */
      readonly answer?: string;
      /** What only measuring told and a reader needs to know: goes to the record's `found`. Of the first round. */
      readonly found?: CostParameters;
    }
  | { readonly skipped: string };

/**
 * A cost that JavaScript measures, in the native lane only: the compiler and the collector run on the same processor,
 * so nothing of it is counted. Each row of each round is measured in a fresh process, and rows that belong together in
 * a seeded random order. Samples of all rounds are joined in order.
 */
export interface MeasuredExperiment extends CostExperimentBase {
  /** Processes for each row; default 3, and 1 where quick. */
  readonly rounds?: (setting: CostSetting) => number;
  /** Time limit of one process in ms; default COST_TRIAL_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  measure(trial: CostTrial): CostMeasurement | Promise<CostMeasurement>;
}

/**
 * A cost that a built program measures by itself, by CLOCK_MONOTONIC, and tells in the last line that it prints: a
 * CostMeasurement as JSON. The executor runs it as it stands, in either lane. Natively its samples are ns. In the
 * counted guest the very same readings are instructions. With QEMU's `-icount shift=0` that clock advances by 1 ns for
 * each instruction that the machine executes, in any process. The kernel's are among them: system calls, page faults,
 * signals, and the timer's interrupts. That is why runs of some ten million instructions repeat better than short ones.
 * A guest gets through 50 million instructions a second: make the program of a size for that. The guest has one
 * processor, and time spent asleep is skipped: nothing that waits or runs side by side can be counted. Each row has
 * three processes natively, and one where instructions are counted, or where quick; each has the run's time limit.
 */
export interface ProgramExperiment extends CostExperimentBase {
  /** The program and its arguments, by paths in the project. Pure. */
  command(row: CostRow, setting: CostSetting): readonly string[];
}

export type CostExperiment = BenchExperiment | MeasuredExperiment | ProgramExperiment;

export type ExperimentModule = CorruptionCase | HonestCase | CostExperiment;

/** ms in the native lane; the emulated lane multiplies it. */
export const DEFAULT_TIMEOUT_MS = 3000;
/** ms in the native lane: honest work is slow under mprotect-page, and being slow is not its question. */
export const HONEST_TIMEOUT_MS = 20_000;
/** ms: of one process that measures a cost row in JavaScript. */
export const COST_TRIAL_TIMEOUT_MS = 60_000;
