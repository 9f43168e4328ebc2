/**
 * What does one guarded callout cost through koffi, from JavaScript and back?
 *
 * Six calls by benchmark.js, each in fresh processes. They pass two integers, eight mixed arguments, a structure by
 * value, a string, a 4 KiB buffer, and one callback during the call. Baselines: koffi itself, and N-API functions
 * written for these calls by hand (native/addon/baseline.cc). Nothing from JavaScript is counted, since the compiler
 * and the collector run on the same processor. Where the CPU has no keys, what keys add to the cost of `flag` here is
 * what they add in C. Varies: call, mechanism, image size. Records: ns of one call, what an empty function costs in the
 * same loop subtracted.
 */
import { createRequire } from 'node:module';

import Benchmark from 'benchmark';

import { ffi } from '../../src/callout/koffi.js';
import { BUILT, type CostExperiment, type CostRow, inProject, NATIVE } from '../../src/experiment/index.js';
import { median } from '../../src/record/statistics.js';
import { sampleWarnings } from '../../src/record/warnings.js';
import { openImage } from '../support/cost-guard.js';

type Call = (...args: unknown[]) => unknown;

const BLOCK = ffi.struct('TurnkeyCostBlock', { a: ffi.array('int64_t', 5), b: 'double' });
const CALLBACK = ffi.proto('int TurnkeyCostCallback(int value)');
const TEXT = 'a string of some forty characters, in ASCII';

/** A call: what it is declared as, and how it is made. `check`: what it must answer. */
interface Kind {
  readonly signature: string;
  readonly prototype: string;
  /** The function's name in the module of N-API functions. */
  readonly napi: string;
  readonly check: number | undefined;
  /** How often the callee calls back. */
  readonly callbacks?: number;
  make(call: Call): () => unknown;
}

const KINDS: readonly Kind[] = [
  {
    signature: 'int(int, int)',
    prototype: 'int foreign_add(int a, int b)',
    napi: 'add',
    check: 5,
    make: (call) => () => call(2, 3),
  },
  {
    signature: 'eight mixed arguments',
    prototype:
      'double foreign_sum_eight(int8_t a, uint16_t b, int32_t c, int64_t d, float e, double f, uint32_t g, int32_t h)',
    napi: 'sumEight',
    check: 36,
    make: (call) => () => call(1, 2, 3, 4, 5, 6, 7, 8),
  },
  {
    signature: 'struct by value',
    prototype: `int64_t foreign_take_block(${BLOCK.name} block, int64_t add)`,
    napi: 'takeBlock',
    check: 18,
    make(call) {
      const block = { a: [1, 2, 3, 4, 5], b: 2 };
      return () => call(block, 1);
    },
  },
  {
    signature: 'string',
    prototype: 'uint64_t foreign_length(const char *text)',
    napi: 'length',
    check: TEXT.length,
    make: (call) => () => call(TEXT),
  },
  {
    signature: '4 KiB buffer',
    prototype: 'void foreign_fill(uint8_t *bytes, uint64_t count, uint8_t value)',
    napi: 'fill',
    check: undefined,
    make(call) {
      const bytes = Buffer.alloc(4096);
      return () => call(bytes, 4096, 7);
    },
  },
  {
    signature: 'one callback',
    prototype: `int foreign_call_back(${CALLBACK.name} *callback, int value)`,
    napi: 'callBack',
    check: 8,
    callbacks: 1,
    make(call) {
      const back = (value: number): number => value + 4;
      return () => call(back, 3);
    },
  },
];

/** The hand-written functions take what their callers have anyway, not a buffer's length. */
function byHand(kind: Kind): () => unknown {
  const module = createRequire(import.meta.url)(inProject(`${NATIVE}/turnkey_baseline.node`)) as Readonly<
    Record<string, Call>
  >;
  const call = module[kind.napi];
  if (call === undefined) throw new Error(`the module of N-API functions has no ${kind.napi}`);
  if (kind.napi === 'fill') {
    const bytes = Buffer.alloc(4096);
    return () => call(bytes, 7);
  }
  return kind.make(call);
}

/** Bytes; the quick run has the middle one. */
const IMAGES: readonly number[] = [64 << 10, 4 << 20, 64 << 20];

/** A sample is a batch of at least so long. */
const BATCH_S = 0.004;
const TIME_S = { full: 0.1, quick: 0.08 } as const;
/** Kept of each process, so that all rows have as many. */
const SAMPLES = 10;

/** ns of one call of `run`, sample by sample. */
function benchmarked(run: () => unknown, maxTime: number): readonly number[] {
  const bench = new Benchmark(run, { minTime: BATCH_S, maxTime, minSamples: SAMPLES, async: false });
  bench.run();
  const { error } = bench as { readonly error?: Error }; // its types say that there always is one
  if (error !== undefined) throw error;
  return bench.stats.sample.slice(-SAMPLES).map((seconds) => seconds * 1e9);
}

/** The plainest call is a rung of the ladder. */
const rung = (signature: string, label: string): Pick<CostRow, 'rung'> =>
  signature === KINDS[0]?.signature ? { rung: label } : {};

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one guarded callout through koffi, beside koffi itself and N-API functions written by hand',
  title: 'One callout from JavaScript',
  question:
    'What does one guarded callout cost through koffi, from JavaScript and back, beside koffi itself and ' +
    'functions written for N-API by hand?',
  order: 80,
  shows: 'rows',
  parameters: {
    imageBytes: { role: 'size', unit: 'bytes' },
    signature: { role: 'row', alone: true },
    by: {
      role: 'series',
      alone: true,
      free: true,
      baseline: 'koffi',
      marks: { koffi: 'koffi itself', 'N-API': 'N-API by hand' },
    },
  },
  measures: 'calls by koffi',
  table: { columns: { signature: 'signature' }, found: { callbacks: 'callbacks' } },
  rows(setting) {
    const kinds = setting.quick ? KINDS.filter(({ napi }) => napi === 'add' || napi === 'callBack') : KINDS;
    const sizes = setting.quick ? IMAGES.slice(1, 2) : IMAGES;
    return kinds.flatMap(({ signature }): readonly CostRow[] => [
      ...(['N-API', 'koffi'] as const).map((by): CostRow => ({
        mechanism: 'none',
        together: signature,
        parameters: { signature, by },
        ...rung(signature, by === 'koffi' ? 'koffi alone, from JavaScript' : 'N-API function, from JavaScript'),
      })),
      ...sizes.flatMap((imageBytes) =>
        (['none', 'flag', 'mprotect-page', 'mprotect-range', 'mprotect-naive', 'pkeys-glibc', 'pkeys'] as const)
          .filter((mechanism) => !setting.quick || !/page|naive|glibc/.test(mechanism))
          .map((mechanism): CostRow => ({
            mechanism,
            together: signature,
            parameters: { signature, by: 'guard', imageBytes },
            ...(mechanism === 'none' ? {} : rung(signature, `callout by koffi, ${mechanism}`)),
          })),
      ),
    ]);
  },
  measure({ row, quick }) {
    const kind = KINDS.find(({ signature }) => signature === row.parameters['signature']);
    if (kind === undefined) throw new RangeError(`there is no call '${String(row.parameters['signature'])}'`);
    const foreign = inProject(BUILT.foreign);
    const run =
      row.parameters['by'] === 'N-API'
        ? byHand(kind)
        : row.parameters['by'] === 'koffi'
          ? kind.make(ffi.load(foreign).func(kind.prototype))
          : kind.make(openImage(row, Number(row.parameters['imageBytes'])).guard.load(foreign).func(kind.prototype));
    const answer = run();
    if (kind.check !== undefined && Number(answer) !== kind.check)
      throw new Error(`${kind.signature} answered ${String(answer)}, not ${kind.check}`);
    const maxTime = quick ? TIME_S.quick : TIME_S.full;
    let kept: unknown;
    const empty = median(
      benchmarked(() => {
        kept = run;
        return kept;
      }, maxTime / 4),
    );
    benchmarked(run, maxTime / 4); // warm-up: benchmark.js makes its own as well, of the loop
    const samples = benchmarked(() => {
      kept = run();
      return kept;
    }, maxTime).map((ns) => Math.max(0, ns - empty));
    return {
      samples,
      warnings: sampleWarnings(samples),
      ...(kind.callbacks === undefined ? {} : { found: { callbacks: kind.callbacks } }),
    };
  },
};
