/** A small run that holds one record of each kind, for tests. */
import type { CostExperiment } from '../../src/experiment/case.js';
import { withTables } from '../../src/record/earlier-tables.js';
import type {
  CorruptionRecord,
  CostRecord,
  HonestRecord,
  ProcessEvidence,
  Run,
  SkippedRecord,
  Values,
} from '../../src/record/records.js';
import { VERSION1_EXPERIMENTS, VERSION1_RUNGS } from '../../src/record/version1-experiments.js';

/** How a process ends that did all that it was to do. */
export const exampleProcess: ProcessEvidence = {
  exitCode: 0,
  signal: null,
  timedOut: false,
  stage: 'finished',
  imageAtDeath: 'unknown',
  changedBytesAtDeath: 0,
  firstChangeAtDeath: null,
  lastSignal: null,
  stderr: '',
};

export const exampleCorruption: CorruptionRecord = {
  kind: 'corruption',
  case: 'wild-write',
  group: 'stray writes',
  mechanism: 'pkeys',
  lane: 'emulated',
  deny: 'write',
  expected: { verdicts: ['prevented'], why: 'the key denies writes' },
  verdict: 'prevented',
  surprise: false,
  unstable: false,
  repetitions: ['prevented'],
  seed: 7,
  evidence: {
    because: 'SEGV_PKUERR',
    missing: [],
    fault: {
      signal: 'SIGSEGV',
      siCode: 4,
      siCodeName: 'SEGV_PKUERR',
      address: '0x7f0000001000',
      access: 'write',
      pkey: 3,
      space: 'old',
      spaceKey: 3,
      pc: '0x7e0000000010',
      pcModule: '/lib/libturnkey_foreign.so',
      symbol: 'foreign_write64',
      phase: 'call',
      image: 'protected',
    },
    answer: null,
    errno: null,
    diff: { changedBytes: 0, ranges: [], heap: { sound: true, text: 'sound' } },
    canaries: [],
    aftermath: [{ step: 'allocation', ok: true, detail: '' }],
    process: exampleProcess,
    notes: [],
  },
};

export const exampleHonest: HonestRecord = {
  kind: 'honest',
  case: 'zlib',
  mechanism: 'none',
  lane: 'native',
  outcome: 'reference',
  sha256: 'a'.repeat(64),
  bytes: 1000,
  callouts: 5,
  imageEqual: true,
  detail: '',
};

export const exampleCost: CostRecord = {
  kind: 'cost',
  experiment: 'flip',
  mechanism: 'mprotect-range',
  lane: 'native',
  varied: { imageBytes: 65536 },
  found: { repeats: 256 },
  unit: 'ns',
  samples: [5000, 4900, 5100],
  median: 5000,
  counts: { wrpkru: 0, rdpkru: 0, syscalls: 2, faults: 0 },
};

/** What only measuring finds, or describes a row. */
const FOUND = ['repeats', 'callouts', 'callbacks', 'reads', 'unit', 'reachedCycles'];

/** A row's parameters as its record keeps them apart, with its rung. */
export function costParameters(
  experiment: string,
  mechanism: string,
  parameters: Values,
): Pick<CostRecord, 'varied' | 'found' | 'rung'> {
  const entries = Object.entries(parameters);
  const varied = Object.fromEntries(entries.filter(([name]) => !FOUND.includes(name)));
  const rung = VERSION1_RUNGS[experiment]?.(mechanism, varied);
  return {
    varied,
    found: Object.fromEntries(entries.filter(([name]) => FOUND.includes(name))),
    ...(rung === undefined ? {} : { rung }),
  };
}

export const exampleSkipped: SkippedRecord = {
  kind: 'skipped',
  of: 'corruption',
  name: 'wild-write',
  mechanism: 'pkeys',
  lane: 'native',
  reason: 'the CPU shows no PKU',
};

export const exampleRun: Run = {
  schemaVersion: 2,
  context: {
    started: '2025-01-01T00:00:00.000Z',
    finished: '2025-01-01T00:01:00.000Z',
    commit: '0123456789ab',
    seed: 42,
    quick: false,
    host: {
      cpu: 'A CPU',
      cores: 2,
      memoryBytes: 8 * 2 ** 30,
      kernel: '6.1',
      system: 'A system',
      keys: false,
      virtualised: true,
    },
    lanes: [
      { lane: 'native', keys: false, keysReason: 'the CPU shows no PKU', cpu: 'A CPU', kernel: '6.1', details: {} },
      { lane: 'emulated', keys: true, keysReason: null, cpu: 'QEMU max', kernel: '6.1.0', details: { qemu: '7.2' } },
    ],
    versions: { node: '20.0.0', koffi: '3.3.4' },
    imageFile: null,
    experiments: withTables(VERSION1_EXPERIMENTS),
  },
  records: [exampleCorruption, exampleHonest, exampleCost, exampleSkipped],
};

/** A cost experiment of two mechanisms that need keys or not, at two sizes. */
export const exampleFlip: CostExperiment = {
  kind: 'cost',
  summary: 'flip',
  title: 'Closing and opening',
  question: 'What does it cost?',
  order: 1,
  shows: 'lines',
  parameters: {},
  bench: 'flip',
  rows: () =>
    [1, 2].flatMap((pages) =>
      (['pkeys', 'mprotect-range'] as const).map((mechanism) => ({ mechanism, parameters: { pages } })),
    ),
};

/** The example with other records, or another run with them. */
export const withRecords = (records: Run['records'], run: Run = exampleRun): Run => ({ ...run, records });
