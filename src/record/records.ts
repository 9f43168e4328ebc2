/**
 * What a run writes down. One JSON document per run, `run.json`, whose shape `schema.ts` checks on write and on read.
 * Addresses are strings of the form 0x1234: JSON has no 64-bit integers.
 */
import type { ExperimentContext } from './description.js';
import type { Warning } from './warnings.js';
import type { CaseGroup, Denial, Hardened, KeyMode, Lane, Mechanism, RemedyKind, Verdict } from './words.js';

/** The version of run.json that this program writes; version1.ts reads the one before. */
export const SCHEMA_VERSION = 2;

/** A whole run. */
export interface Run {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  readonly context: Context;
  readonly records: readonly RunRecord[];
}

/** What the run was made on and with. */
export interface Context {
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly finished: string;
  /** The project's commit, with `+` when files differed from it; null outside a repository. */
  readonly commit: string | null;
  readonly seed: number;
  readonly quick: boolean;
  readonly host: HostContext;
  readonly lanes: readonly LaneContext[];
  readonly versions: Readonly<Record<string, string>>;
  /** The VM image file of --image, by base name, size and SHA-256; null for the synthetic image. */
  readonly imageFile: { readonly name: string; readonly bytes: number; readonly sha256: string } | null;
  /** The image that trials use. */
  readonly spaces?: readonly { readonly name: string; readonly bytes: number }[];
  /** The cost experiments of the run, in their own words. */
  readonly experiments: readonly ExperimentContext[];
  /** Set when this run holds one shard of a campaign. */
  readonly shard?: { readonly index: number; readonly count: number };
}

export interface HostContext {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly system: string;
  /** The CPU shows pku and ospke. */
  readonly keys: boolean;
  readonly virtualised: boolean;
}

/** One lane of the run. */
export interface LaneContext {
  readonly lane: Lane;
  readonly keys: boolean;
  /** Why there are no keys in this lane; null where there are. */
  readonly keysReason: string | null;
  readonly cpu: string;
  readonly kernel: string;
  /** Lane-specific facts: QEMU's version, the guest's processors, the result of the conformance job. */
  readonly details: Readonly<Record<string, string>>;
  /** What makes all times of the lane less than they could be. */
  readonly warnings?: readonly Warning[];
}

export type RunRecord = CorruptionRecord | HonestRecord | CostRecord | SkippedRecord;

/** One cell of the corruption matrix. */
export interface CorruptionRecord {
  readonly kind: 'corruption';
  readonly case: string;
  readonly group: CaseGroup;
  readonly mechanism: Mechanism;
  readonly lane: Lane;
  readonly deny: Denial;
  /** 'image' where missing. */
  readonly keys?: KeyMode;
  /** How the guard was hardened; not at all where missing. */
  readonly harden?: Hardened;
  /** The case's own sentence. */
  readonly summary?: string;
  /** What would stop it where keys do not, by the case. */
  readonly remedy?: Remedy;
  readonly expected: Expectation;
  readonly verdict: Verdict;
  /** For `damaged`: whether a fault was raised as well. */
  readonly announced?: boolean;
  /** The verdict is not among the expected ones. */
  readonly surprise: boolean;
  /** Repetitions gave different verdicts; `verdict` is the first one's. */
  readonly unstable: boolean;
  /** The verdict of each repetition. */
  readonly repetitions: readonly Verdict[];
  readonly seed: number;
  readonly evidence: Evidence;
}

/** What would stop a case that keys leave open: kinds that several cases share, and the case's own sentence. */
export interface Remedy {
  readonly kinds: readonly [RemedyKind, ...RemedyKind[]];
  readonly text: string;
}

/** What was expected of a case, and why. */
export interface Expectation {
  readonly verdicts: readonly Verdict[];
  readonly why: string;
}

/** What the verdict rests on. */
export interface Evidence {
  /** One sentence: how the verdict follows. */
  readonly because: string;
  /** Conditions of I10 that did not hold, where a fault was raised. */
  readonly missing: readonly string[];
  readonly fault: FaultEvidence | null;
  /** What the foreign function, or the kernel through it, answered. */
  readonly answer: string | null;
  /** Errno name answered instead of a write, e.g. EFAULT. */
  readonly errno: string | null;
  readonly diff: DiffEvidence | null;
  /** Where the image differed and the process went on. */
  readonly restored?: RestoreEvidence;
  readonly canaries: readonly CanaryEvidence[];
  readonly aftermath: readonly AftermathStep[];
  readonly process: ProcessEvidence;
  readonly notes: readonly string[];
}

/** A fault as the CalloutError told it. */
export interface FaultEvidence {
  readonly signal: string;
  readonly siCode: number;
  readonly siCodeName: string;
  /** The system call that the filter refused. */
  readonly systemCall?: string;
  readonly address: string;
  readonly access: 'read' | 'write' | 'execute' | 'unknown';
  readonly pkey: number | null;
  /** The space that holds the address, and that space's key at the fault; null outside the image. */
  readonly space: string | null;
  readonly spaceKey: number | null;
  /** How often the space got another virtual key between the fault and its record; missing: never. */
  readonly spaceMoves?: number;
  readonly pc: string;
  /** The module that holds the pc by /proc/self/maps; null if none does. */
  readonly pcModule: string | null;
  readonly symbol: string | null;
  readonly phase: 'load' | 'call' | 'decode';
  /** What the error itself said of the image. */
  readonly image: string;
}

/** The image against its snapshot. */
export interface DiffEvidence {
  readonly changedBytes: number;
  /** The first ranges, at most eight. */
  readonly ranges: readonly {
    readonly space: string;
    readonly offset: number;
    readonly bytes: number;
    /**
     * The object in which the range begins, where the space holds a heap: its header's offset, and the slot (null: in
     * the header).
     */
    readonly object?: {
      readonly offset: number;
      readonly bytes: number;
      readonly classIndex: number;
      readonly slot: number | null;
      readonly isFree: boolean;
    };
  }[];
  /** What image.verify() said; null if it was not asked. */
  readonly heap: HeapEvidence | null;
}

/** What a walk over the heap told. */
export interface HeapEvidence {
  readonly sound: boolean;
  readonly text: string;
}

/** What `image.restore()` did about an image that differed, after all else was seen. */
export interface RestoreEvidence {
  /** Bytes that it wrote: whole blocks of 4096. */
  readonly bytes: number;
  /** Compared again: no byte differs. */
  readonly equal: boolean;
  /** What image.verify() then said, or why it could not be restored. */
  readonly heap: string;
}

export interface CanaryEvidence {
  readonly name: string;
  readonly intact: boolean;
}

export interface AftermathStep {
  readonly step: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** How the trial's process ended, from the tracing runner. */
export interface ProcessEvidence {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  /** How far the trial had come by its own words. */
  readonly stage: 'start' | 'set up' | 'called' | 'finished';
  readonly imageAtDeath: 'equal' | 'differs' | 'unreadable' | 'unknown';
  readonly changedBytesAtDeath: number;
  readonly firstChangeAtDeath: { readonly space: string; readonly offset: number } | null;
  readonly lastSignal: LastSignal | null;
  /** The last lines of standard error, where the process died. */
  readonly stderr: string;
}

export interface LastSignal {
  readonly signal: string;
  readonly siCode: number;
  readonly address?: string;
  readonly pkey?: number;
  readonly pc: string;
  readonly mainThread: boolean;
}

/** Honest work: does it give the same bytes? */
export interface HonestRecord {
  readonly kind: 'honest';
  readonly case: string;
  readonly mechanism: Mechanism;
  readonly lane: Lane;
  /** How the guard was hardened; not at all where missing. */
  readonly harden?: Hardened;
  /** `same`: the bytes of mechanism `none` in the same run; `reference`: this is that one. */
  readonly outcome: 'reference' | 'same' | 'differs' | 'failed';
  readonly sha256: string | null;
  readonly bytes: number | null;
  /** Guarded callouts made. */
  readonly callouts: number | null;
  /** The image was equal to its snapshot afterwards. */
  readonly imageEqual: boolean | null;
  /** Why it failed or differed; empty otherwise. */
  readonly detail: string;
}

/** Parameters by name; names end in their unit where they have one (`imageBytes`). */
export type Values = Readonly<Record<string, number | string | boolean>>;

/** One measured cost. Native lane: unit ns. Emulated lane: unit instructions. Never one for the other. */
export interface CostRecord {
  readonly kind: 'cost';
  readonly experiment: string;
  readonly mechanism: Mechanism;
  readonly lane: Lane;
  /** What the row varies: rows of one experiment, mechanism and lane differ in it. */
  readonly varied: Values;
  /** What only measuring told, or describes the row without telling it apart: `repeats`, `callouts`, `unit`. */
  readonly found: Values;
  /** Its name on the ladder from a raw call up, where it is a rung. */
  readonly rung?: string;
  readonly unit: 'ns' | 'instructions';
  /** Cost of one operation, one entry per batch; the empty loop is already subtracted. */
  readonly samples: readonly number[];
  readonly median: number;
  /** Events in one operation, seen by stepping through it; known from the code path where that takes too long. */
  readonly counts?: {
    readonly wrpkru: number;
    readonly rdpkru: number;
    readonly syscalls: number;
    readonly faults: number;
  };
  /**
   * What was seen besides: `userInstructions` by stepping through one operation, loop included; what other threads
   * suffered, over all windows.
   */
  readonly observed?: Readonly<Record<string, number>>;
  /**
   * How it was measured: fresh processes; batches before the first sample. Rows of one experiment, lane and `group`
   * were measured in the same rounds. Where they have as many samples, sample k of one was taken in the same round as
   * sample k of another.
   */
  readonly method?: {
    readonly processes: number;
    readonly group?: number;
    readonly warmUp?: number;
    readonly pinned?: boolean;
  };
  /** What makes it less than it could be. */
  readonly warnings?: readonly Warning[];
}

/** Something that could not be tried, and why. */
export interface SkippedRecord {
  readonly kind: 'skipped';
  readonly of: 'corruption' | 'honest' | 'cost';
  readonly name: string;
  readonly mechanism: Mechanism;
  readonly lane: Lane;
  readonly reason: string;
  /** Not foreseen: something broke that should have worked. */
  readonly broken?: true;
}
