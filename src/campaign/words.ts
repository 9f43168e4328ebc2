/** The words of a campaign: its strata, what became of a program, a plan, a record. */
import type { GuardMechanism, Verdict } from '../record/words.js';

/** Strata of the stand-in, in the order of indices: fault i belongs to stratum i modulo their number (draw.h). */
export const STRATA = [
  'eden',
  'survivor',
  'old',
  'code',
  'stack',
  'heap',
  'callee-heap',
  'vm-stack',
  'foreign-stack',
  'other-stacks',
  'tls',
  'vm-globals',
  'libc-globals',
  'callee-globals',
  'trap',
  'lent',
  'neighbour',
  'untouched',
  'unmapped',
  'overrun',
  'stale',
  'left-behind',
] as const;
export type StratumName = (typeof STRATA)[number];

/** What each stratum is, for reports. */
export const STRATUM_TEXTS: Readonly<Record<StratumName, string>> = {
  eden: "the image's eden",
  survivor: "the image's survivor space",
  old: "the image's old space",
  code: "the image's code space",
  stack: "the image's stack space",
  heap: "malloc's heap: the program's blocks and free memory",
  'callee-heap': "malloc's heap: blocks of the callee's libraries",
  'vm-stack': "the program's thread's stack",
  'foreign-stack': 'the stack that callouts run on, and signal stacks',
  'other-stacks': "stacks of the program's other thread",
  tls: 'thread-local storage',
  'vm-globals': "the program's globals",
  'libc-globals': "the C library's globals",
  'callee-globals': "globals of the callee's libraries",
  trap: "the trap's own pages",
  lent: 'memory lent to the callee',
  neighbour: 'pages next to the image',
  untouched: 'writable pages that were never used',
  unmapped: 'addresses without memory',
  overrun: 'writing on past the end of a real buffer',
  stale: 'a pointer kept from an earlier callout',
  'left-behind': 'results, structures, strings and arguments left behind: no store at all',
};

/** The strata that are spaces of the image. */
export const IMAGE_STRATA: readonly string[] = STRATA.slice(0, 5);

/** When a fault happens, in the order in which they are drawn. */
export const MOMENTS = [
  'before the callee works',
  'in the middle of its work',
  'at its end',
  'in a callout nested in a callback',
  "from a thread of the callee's",
  'from that thread, after the return',
] as const;

/** What became of the program. `told`: it got an error, and could know that an answer is missing or wrong. */
export const ENDS = ['right', 'told', 'wrong', 'crash', 'hang'] as const;
export type End = (typeof ENDS)[number];

/** Mechanisms that a campaign compares if nothing is said, where they can be had. */
export const CAMPAIGN_MECHANISMS = [
  'none',
  'flag',
  'mprotect-range',
  'pkeys',
] as const satisfies readonly GuardMechanism[];

export interface Stratum {
  readonly name: string;
  readonly bytes: number;
  /** `from-to` in hexadecimal, comma-separated, by address. */
  readonly ranges: string;
}

/** When a campaign ends before its count: fixed beforehand, and looked at only after whole blocks of faults. */
export interface StopRule {
  /** Ends when every interval's half-width (each mechanism and stratum, harm) is at most this. */
  readonly halfWidth: number;
  /** Faults a stratum between two looks. */
  readonly lookEvery: number;
}

/** All that the faults of a campaign depend on, and where it ran. Shards of one campaign agree in every field. */
export interface Plan {
  readonly schema: 1;
  /** Whose process; left out: the stand-in. */
  readonly process?: 'node';
  readonly seed: number;
  /** Indices are 0 <= i < count. */
  readonly count: number;
  readonly mechanisms: readonly GuardMechanism[];
  readonly lane: 'native' | 'emulated';
  readonly kernel: string;
  readonly cpu: string;
  readonly version: string;
  readonly commit: string | null;
  /** SHA-256 of the program that makes the trials. */
  readonly program: string;
  /** Every n-th fault of a stratum meets a gate that takes no rights away; 0 in all but tests of the tool itself. */
  readonly planted: number;
  readonly until: StopRule | null;
  /** A digest of all mappings of a trial: equal for every mechanism. */
  readonly digest: string;
  readonly strata: readonly Stratum[];
}

/** One trial, as native/campaign prints it; a line of records.jsonl. */
export interface TrialRecord {
  readonly index: number;
  readonly mechanism: GuardMechanism;
  readonly stratum: string;
  readonly moment: string;
  readonly means: string;
  readonly source?: string;
  readonly address: string;
  readonly bytes: number;
  /** Null: the trial could not be made; `problem` says why. */
  readonly verdict: Verdict | null;
  readonly end: End | null;
  readonly image: 'equal' | 'differs' | null;
  /** The last unit of the aftermath that was done: -1 the callout itself, -2 not even that. */
  readonly unit: number;
  readonly diedNs?: number;
  readonly changed?: boolean;
  readonly errno?: number;
  readonly evidence?: Readonly<Record<string, number | string>>;
  readonly changedAt?: string;
  readonly problem?: string;
}

/** Harm: the program crashed, hung, or answered wrongly with no error told, or its image was damaged. */
export function isHarm(record: Pick<TrialRecord, 'end' | 'image'>): boolean {
  return record.image === 'differs' || record.end === 'crash' || record.end === 'hang' || record.end === 'wrong';
}
