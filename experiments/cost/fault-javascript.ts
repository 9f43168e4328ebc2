/**
 * What does one failed callout cost from the call in JavaScript to the caught CalloutError?
 *
 * The callee stores into the closed image (through a null pointer where nothing is closed). The error is caught, its
 * errorCode read, and nothing else of it: costly fields are resolved on first use. What C takes of it is the experiment
 * fault, whole. Each process makes a thousand failing callouts before the first sample of `thousandth`; the sample of
 * `first` is its very first one.
 * Varies: mechanism; first or thousandth and later. Records: samples of one failed callout, in ns. Native lane only.
 */
import { CalloutError, Guard } from '../../src/callout/index.js';
import {
  BUILT,
  type CostExperiment,
  type CostMeasurement,
  type CostTrial,
  inProject,
  isGuardMechanism,
} from '../../src/experiment/index.js';
import { Image } from '../../src/image/image.js';
import { imageSize } from '../support/sizes.js';

const PAGES = 16;
const BEFORE = 1000;
const BATCHES = 10;
const BATCH = 50;

function measure({ row }: CostTrial): CostMeasurement {
  const { mechanism, parameters } = row;
  if (!isGuardMechanism(mechanism)) return { skipped: 'not a mechanism of callouts' };
  const image = Image.map({ spaces: [{ name: 'old', bytes: imageSize(PAGES).imageBytes }] });
  const guard = new Guard({ image, mechanism, response: 'always' });
  const library = guard.load(inProject(BUILT.foreign));
  const write = library.func('void foreign_write64(uint64_t address, uint64_t value)') as (
    address: bigint,
    value: number,
  ) => unknown;
  const add = library.func('int foreign_add(int a, int b)') as (a: number, b: number) => number;
  const target = mechanism === 'flag' ? 0n : image.space('old').address + 8n;
  let caught = 0;
  const fail = (times: number): void => {
    for (let at = 0; at < times; at++) {
      try {
        write(target, 1);
      } catch (error) {
        if (error instanceof CalloutError && error.errorCode !== 0) caught++;
      }
    }
  };
  const timed = (times: number): number => {
    const start = process.hrtime.bigint();
    fail(times);
    return Number(process.hrtime.bigint() - start) / times;
  };
  add(1, 2); // the gate is known, only the fault is new
  const first = parameters['occurrence'] === 'first';
  if (!first) fail(BEFORE);
  const samples = first ? [timed(1)] : Array.from({ length: BATCHES }, () => timed(BATCH));
  const made = first ? 1 : BEFORE + BATCHES * BATCH;
  if (caught !== made) return { skipped: `${made - caught} of ${made} failing callouts threw nothing` };
  return { samples, repeats: first ? 1 : BATCH };
}

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one callout that faults, from the call in JavaScript to the caught error',
  title: 'A fault, seen from JavaScript',
  question: 'What does a failed callout cost from the call to the caught CalloutError?',
  order: 60,
  shows: 'rows',
  parameters: { imageBytes: { role: 'size', unit: 'bytes' }, occurrence: { role: 'row' } },
  measures: 'caught fault',
  table: { rows: { first: { occurrence: 'first' } } },
  rows: ({ quick }) =>
    quick
      ? []
      : (['thousandth', 'first'] as const).flatMap((occurrence) =>
          (['flag', 'mprotect-range', 'pkeys'] as const).map((mechanism) => ({
            mechanism,
            parameters: { ...imageSize(PAGES), occurrence },
          })),
        ),
  rounds: () => 5,
  measure,
};
