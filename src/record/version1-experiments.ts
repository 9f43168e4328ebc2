/**
 * What the cost experiments of schema version 1 say about themselves, and the rungs that their rows are: version 1 kept
 * neither in the run. Frozen: runs of that version hold no other experiments.
 */
import type { ExperimentContext } from './description.js';

type Values = Readonly<Record<string, number | string | boolean>>;

export const VERSION1_EXPERIMENTS: readonly ExperimentContext[] = [
  {
    name: 'revisit',
    title: 'Coming back to the image',
    question: 'What does the VM pay when it touches its image again after a callout?',
    order: 10,
    shows: 'lines',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      touchedPages: {
        role: 'x',
      },
      access: {
        role: 'row',
        alone: true,
      },
    },
  },
  {
    name: 'threads',
    title: 'Other threads',
    question: 'What do other threads of the VM lose while one makes callouts?',
    order: 20,
    shows: 'ratios',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      what: {
        role: 'panel',
        alone: true,
      },
      work: {
        role: 'row',
        alone: true,
      },
      threads: {
        role: 'row',
        unit: 'count',
      },
    },
    measures: 'bystanders',
  },
  {
    name: 'applications',
    title: 'Whole applications',
    question: 'How much slower does real work get?',
    order: 30,
    shows: 'ratios',
    parameters: {
      application: {
        role: 'row',
        alone: true,
      },
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
    },
    measures: 'applications',
  },
  {
    name: 'model-run',
    title: 'Applications with a stand-in for keys',
    question: 'What would real work feel of a rights write of so many cycles?',
    order: 40,
    shows: 'ratios',
    parameters: {
      application: {
        role: 'row',
        alone: true,
      },
      cycles: {
        role: 'series',
        unit: 'count',
        free: true,
      },
    },
    measures: 'model of keys',
  },
  {
    name: 'fault',
    title: 'A fault, from the store to the error',
    question: 'What does a callout cost that faults and is recovered?',
    order: 50,
    shows: 'lines',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      part: {
        role: 'aside',
        alone: true,
        usual: 'whole',
      },
      occurrence: {
        role: 'aside',
      },
    },
    measures: 'fault',
  },
  {
    name: 'fault-javascript',
    title: 'A fault, seen from JavaScript',
    question: 'What does a failed callout cost from the call to the caught CalloutError?',
    order: 60,
    shows: 'rows',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      occurrence: {
        role: 'row',
      },
    },
    measures: 'caught fault',
  },
  {
    name: 'image-check',
    title: 'Checking the image, and bringing it back',
    question:
      'What does it cost after a failed callout to find out whether the image can be trusted, and to go back ' +
      'to the snapshot?',
    order: 70,
    shows: 'rows',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      operation: {
        role: 'row',
      },
    },
    measures: 'image check',
  },
  {
    name: 'callout-koffi',
    title: 'One callout from JavaScript',
    question:
      'What does one guarded callout cost through koffi, from JavaScript and back, beside koffi itself and ' +
      'functions written for N-API by hand?',
    order: 80,
    shows: 'rows',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      signature: {
        role: 'row',
        alone: true,
      },
      by: {
        role: 'series',
        alone: true,
        free: true,
        baseline: 'koffi',
        marks: {
          koffi: 'koffi itself',
          'N-API': 'N-API by hand',
        },
      },
    },
    measures: 'calls by koffi',
  },
  {
    name: 'callout',
    title: 'One callout in C',
    question: 'What does one guarded callout of an empty function cost, without a language binding?',
    order: 90,
    shows: 'lines',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
    },
    headline: {
      picture: 'one guarded callout of an empty C function: close the image, call, open it',
      sentence: 'a guarded callout of an empty function',
    },
    measures: 'call in C',
  },
  {
    name: 'gate',
    title: 'The call gate',
    question: 'What do the parts of the gate cost, without any language binding?',
    order: 100,
    shows: 'rows',
    parameters: {
      way: {
        role: 'row',
        alone: true,
        free: true,
        baseline: 'raw call',
      },
      arguments: {
        role: 'row',
        unit: 'count',
        usual: 0,
      },
      foreignStack: {
        role: 'row',
        words: {
          yes: 'foreign stack',
          no: "caller's stack",
        },
        usual: true,
        free: true,
      },
      floats: {
        role: 'row',
        free: true,
      },
    },
    measures: 'gate',
  },
  {
    name: 'flip',
    title: 'Closing and opening the image',
    question: 'What does it cost to take the write right away from the whole image and to give it back?',
    order: 110,
    shows: 'lines',
    parameters: {
      imageBytes: {
        role: 'size',
        unit: 'bytes',
      },
      touched: {
        role: 'row',
        usual: true,
      },
      pageBytes: {
        role: 'row',
        unit: 'bytes',
        usual: 4096,
      },
      spaces: {
        role: 'row',
        unit: 'count',
        usual: 1,
      },
      call: {
        role: 'row',
        alone: true,
        usual: 'mprotect',
      },
    },
    headline: {
      picture: 'one pair of closing and opening the whole image',
      sentence: 'closing and opening the whole image',
    },
  },
  {
    name: 'alternatives',
    title: 'What one would do otherwise',
    question: 'What does the same callout cost in another thread or process?',
    order: 120,
    shows: 'rows',
    parameters: {
      way: {
        role: 'row',
        alone: true,
        free: true,
        baseline: 'call',
      },
      bufferBytes: {
        role: 'row',
        unit: 'bytes',
      },
      processors: {
        role: 'row',
        unit: 'count',
        free: true,
      },
    },
  },
  {
    name: 'lua-programs',
    title: 'Lua programs behind each mechanism',
    question:
      'What does protecting the heap of a real VM cost its programs? One row is a run of one of them; counted ' +
      'is a share of some, with as much work between two callouts.',
    order: 130,
    shows: 'ratios',
    parameters: {
      vm: {
        role: 'row',
        alone: true,
      },
      program: {
        role: 'row',
        alone: true,
      },
    },
    wholeWork: true,
  },
  {
    name: 'lua-threads',
    title: 'Two Lua states on two threads',
    question: 'What does one thread pay for the callouts of another?',
    order: 140,
    shows: 'rows',
    parameters: {
      vm: {
        role: 'row',
        alone: true,
      },
      otherState: {
        role: 'row',
      },
    },
    measures: 'bystanders',
  },
];

/** The name of a row on the ladder; undefined where it is no rung. */
export const VERSION1_RUNGS: Readonly<Record<string, (mechanism: string, varied: Values) => string | undefined>> = {
  gate: (mechanism, { way }) =>
    way === 'guarded' || way === undefined ? `guarded call in C, ${mechanism}` : `${String(way)} in C`,
  callout: (mechanism) => (mechanism === 'none' ? undefined : `callout in C, ${mechanism}`),
  'callout-koffi'(mechanism, { signature, by }) {
    if (signature !== 'int(int, int)') return undefined;
    if (by === 'guard') return mechanism === 'none' ? undefined : `callout by koffi, ${mechanism}`;
    return by === 'koffi' ? 'koffi alone, from JavaScript' : 'N-API function, from JavaScript';
  },
  fault: (mechanism, { part, occurrence }) =>
    (part === undefined || part === 'whole') && occurrence === undefined
      ? `failed callout in C, ${mechanism}`
      : undefined,
  alternatives(_, { way, bufferBytes, processors }) {
    if (way === 'call' || bufferBytes !== 0) return undefined;
    return `${String(way)}${processors === 1 ? ', one processor' : ', two processors'}`;
  },
};
