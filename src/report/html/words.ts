/**
 * What the words of a report mean, in one line each, and how mechanisms and verdicts look. Signs and shapes say the
 * same as colours.
 */
import type { Mechanism, Verdict } from '../../record/words.js';

/** How a mechanism is drawn. `ink` names a colour of the style sheet. */
export interface MechanismLook {
  readonly ink: string;
  /** Line pattern in px; empty is solid. */
  readonly dash: readonly number[];
  /** A shape of Vega's. */
  readonly shape: string;
  readonly meaning: string;
}

export const MECHANISM_LOOKS: Readonly<Record<Mechanism, MechanismLook>> = {
  none: { ink: 'none', dash: [2, 3], shape: 'circle', meaning: 'a raw call: no trap, nothing closed' },
  flag: {
    ink: 'flag',
    dash: [7, 3],
    shape: 'diamond',
    meaning: 'a signal trap fails the callout; the image stays open',
  },
  'mprotect-page': {
    ink: 'page',
    dash: [],
    shape: 'triangle-up',
    meaning: 'the image is made read-only and back, one system call per page',
  },
  'mprotect-range': { ink: 'range', dash: [], shape: 'square', meaning: 'the same with one system call per space' },
  'mprotect-naive': {
    ink: 'naive',
    dash: [5, 3],
    shape: 'triangle-down',
    meaning: 'as mprotect-range, each callout for itself, to show the hole that leaves with threads',
  },
  pkeys: { ink: 'pkeys', dash: [], shape: 'circle', meaning: 'protection keys, rights written in the call gate' },
  'pkeys-glibc': {
    ink: 'glibc',
    dash: [4, 2],
    shape: 'cross',
    meaning: "protection keys by glibc's pkey_set beside the gate",
  },
  'pkeys-model': {
    ink: 'model',
    dash: [2, 2],
    shape: 'cross',
    meaning: 'a delay in place of each rights write: a model, it protects nothing',
  },
  process: { ink: 'process', dash: [1, 2], shape: 'triangle-right', meaning: 'the callee runs in another process' },
};

/** How a verdict is shown: a letter, whether it is good for the VM, and what it means. */
export interface VerdictLook {
  readonly letter: string;
  readonly sign: string;
  readonly meaning: string;
}

export const VERDICT_LOOKS: Readonly<Record<Verdict, VerdictLook>> = {
  prevented: {
    letter: 'P',
    sign: '✓',
    meaning: 'the mechanism stopped the store, the callout failed, the image is equal and the VM goes on',
  },
  refused: { letter: 'R', sign: '✓', meaning: 'the kernel answered an error instead of touching the image' },
  trapped: {
    letter: 'T',
    sign: '✓',
    meaning: 'a fault that no mechanism caused failed the callout; the image is equal and the VM goes on',
  },
  damaged: { letter: 'D', sign: '✗', meaning: 'the image differs' },
  'host-damaged': { letter: 'H', sign: '✗', meaning: "the image is equal, the host's other memory is not" },
  disclosed: { letter: 'L', sign: '✗', meaning: 'leaked: foreign code read what it should not have' },
  crashed: { letter: 'C', sign: '†', meaning: 'the process died' },
  hung: { letter: 'U', sign: '✗', meaning: 'unfinished: past its time limit, in the call or in the aftermath' },
  harmless: { letter: 'N', sign: '·', meaning: 'nothing happened: the case did not apply' },
};

export const LANE_MEANINGS: Readonly<Record<string, string>> = {
  native: 'measured on this CPU, in time',
  emulated: 'counted under an emulated CPU with keys: executed instructions, not time',
  model: 'computed or timed with a stand-in: a model, not a measurement of keys',
  wine: 'behaviour only',
  'qemu-user': 'behaviour only',
};

/** Plain titles and questions of the experiments that reports know. Others are shown under their own names. */
export const EXPERIMENTS: Readonly<Record<string, { readonly title: string; readonly question: string }>> = {
  flip: {
    title: 'Closing and opening the image',
    question: 'What does it cost to take the write right away from the whole image and to give it back?',
  },
  gate: { title: 'The call gate', question: 'What do the parts of the gate cost, without any language binding?' },
  callout: {
    title: 'One callout in C',
    question: 'What does one guarded callout of an empty function cost, without a language binding?',
  },
  'callout-koffi': {
    title: 'One callout from JavaScript',
    question:
      'What does one guarded callout cost through koffi, from JavaScript and back, beside koffi itself and ' +
      'functions written for N-API by hand?',
  },
  fault: {
    title: 'A fault, from the store to the error',
    question: 'What does a callout cost that faults and is recovered?',
  },
  'fault-javascript': {
    title: 'A fault, seen from JavaScript',
    question: 'What does a failed callout cost from the call to the caught CalloutError?',
  },
  'image-check': {
    title: 'Checking the image, and bringing it back',
    question:
      'What does it cost after a failed callout to find out whether the image can be trusted, and to go back ' +
      'to the snapshot?',
  },
  revisit: {
    title: 'Coming back to the image',
    question: 'What does the VM pay when it touches its image again after a callout?',
  },
  threads: { title: 'Other threads', question: 'What do other threads of the VM lose while one makes callouts?' },
  alternatives: {
    title: 'What one would do otherwise',
    question: 'What does the same callout cost in another thread or process?',
  },
  'lua-programs': {
    title: 'Lua programs behind each mechanism',
    question:
      'What does protecting the heap of a real VM cost its programs? One row is a run of one of them; counted ' +
      'is a share of some, with as much work between two callouts.',
  },
  'lua-threads': {
    title: 'Two Lua states on two threads',
    question: 'What does one thread pay for the callouts of another?',
  },
  applications: { title: 'Whole applications', question: 'How much slower does real work get?' },
  'break-even': {
    title: 'Break-even, as recorded',
    question: 'At which rate of callouts does a mechanism cost how much?',
  },
  'model-run': {
    title: 'Applications with a stand-in for keys',
    question: 'What would real work feel of a rights write of so many cycles?',
  },
};

/** The order of the experiments in a report. */
export const EXPERIMENT_ORDER: readonly string[] = [
  'revisit',
  'threads',
  'applications',
  'model-run',
  'fault',
  'fault-javascript',
  'image-check',
  'callout-koffi',
  'callout',
  'gate',
  'flip',
  'alternatives',
  'lua-programs',
  'lua-threads',
  'break-even',
];

/**
 * Cycles of one WRPKRU, as published: 11 to 260, mostly under 100 (Vahldiek-Oberwagner et al., ERIM, USENIX Security
 * 2019, on Skylake-SP).
 */
export const WRPKRU_CYCLES = { least: 11, most: 260 } as const;
/** Assumed where the CPU's name does not tell its frequency. */
export const ASSUMED_GHZ = 3;
