/** Whose process a campaign's faults are made in: the stand-in, or Node itself. What reports and plans know of each. */
import { type Plan, STRATA, STRATUM_TEXTS } from './words.js';

export const PROCESSES = ['stand-in', 'node'] as const;
export type Process = (typeof PROCESSES)[number];

export interface Subject {
  readonly process: Process;
  /** As native/campaign/draw.h and node.h have them, in that order. */
  readonly strata: readonly string[];
  /** Every second fault is into the first stratum; the others share the rest. */
  readonly favoursFirst: boolean;
  /** How often a warm process may start anew where its memory lies otherwise: helper threads start by chance. */
  readonly tries: number;
  readonly texts: Readonly<Record<string, string>>;
  /** Populations whose strata are weighed by their bytes. */
  readonly image: readonly string[];
  readonly program: readonly string[];
  /** What the image and the program's memory are called in sentences. */
  readonly imageWords: string;
  readonly programWords: string;
  /** When a program died: in the callout, or in which unit after it. */
  readonly units: readonly [string, string, string, string];
}

export const STAND_IN: Subject = {
  process: 'stand-in',
  strata: STRATA,
  favoursFirst: false,
  tries: 1,
  texts: STRATUM_TEXTS,
  image: STRATA.slice(0, 5),
  program: STRATA.slice(0, 17).filter((name) => name !== 'trap'),
  imageWords: 'the image',
  programWords: 'any byte of memory that the program uses, its image included',
  units: [
    'in the callout',
    'in the first unit after it',
    'in the second unit, on the other thread',
    "in the third, a collector's walk",
  ],
};

const NODE_TEXTS = {
  'v8-heap': "V8's heap: objects, old and young",
  'v8-code': "V8's code",
  malloc: "malloc's heap: Buffers, C++ objects of Node and V8, koffi's",
  buffer: 'the Buffer that is lent to the callee',
  'js-stack': "the main thread's stack",
  'foreign-stack': 'the stack that callouts run on',
  tls: 'thread-local storage',
  'node-globals': 'globals of Node and of the libraries in it: V8, libuv, OpenSSL',
  'libc-globals': 'globals of the C and C++ libraries',
  'addon-globals': "koffi's globals",
  'callee-globals': "the callee's globals",
  turnkey: "Turnkey's own pages",
  untouched: 'writable pages that were never used',
  unmapped: 'addresses without memory',
  overrun: 'writing on past the end of a real buffer',
} as const;
const NODE_STRATA = Object.keys(NODE_TEXTS);

export const NODE: Subject = {
  process: 'node',
  strata: NODE_STRATA,
  favoursFirst: true,
  tries: 40,
  texts: NODE_TEXTS,
  image: NODE_STRATA.slice(0, 1),
  program: NODE_STRATA.slice(0, 11),
  imageWords: "V8's live heap",
  programWords: 'any byte of memory that Node uses, that heap included',
  units: [
    'in the callout',
    'in the first unit after it: objects walked and made',
    'in the second: a collection, a callout',
    'in the third: new code, zlib, a collection',
  ],
};

export function subjectOf(plan: Pick<Plan, 'process'>): Subject {
  return plan.process === 'node' ? NODE : STAND_IN;
}

/** The stratum of fault `index`, as a position among the subject's. */
export function stratumOf({ strata, favoursFirst }: Subject, index: number): number {
  if (!favoursFirst) return index % strata.length;
  return index % 2 === 0 ? 0 : 1 + (Math.floor(index / 2) % (strata.length - 1));
}
