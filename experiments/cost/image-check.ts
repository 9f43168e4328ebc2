/**
 * What does it cost to find out whether an image can be trusted, and to bring it back?
 *
 * After a callout has failed under the trap alone, a VM has three answers. It can walk the heap (image.verify), compare
 * it with a snapshot (image.diff), or go back to that (image.restore). Beside them memcmp of the C library over as many
 * bytes, which no comparison can beat. Where bytes differ, one byte was changed in each of so many pages, evenly
 * spread. diff is asked to name no objects, each of which would cost a walk. For an image as small as 1 MiB, most of
 * the time goes into reading /proc/self/maps. Whatever the size, restore first looks up that every page can still be
 * written. Varies: operation with how much differs, image size. Records: ns of one operation over the whole image.
 * Native lane only: what is counted would be memory's time, which instructions do not tell.
 */
import { ffi } from '../../src/callout/koffi.js';
import type { CostExperiment, CostMeasurement, CostRow, CostTrial } from '../../src/experiment/index.js';
import type { Image } from '../../src/image/image.js';
import { sampleWarnings } from '../../src/record/warnings.js';
import { openImage, timeNs, warmUp } from '../support/cost-guard.js';

const PAGE = 4096;
const SIZES: readonly number[] = [1 << 20, 64 << 20];
const SAMPLES = 12;
const WARM_MS = 1000;

/** What is done, how it is called, and how many pages differ before. 'all': every page of the image. */
const OPERATIONS = [
  { operation: 'memcmp', method: 'memcmp', differ: 0 },
  { operation: 'snapshot', method: 'snapshot', differ: 0 },
  { operation: 'verify', method: 'verify', differ: 0 },
  ...(['diff', 'restore'] as const).flatMap((method) =>
    (
      [
        ['nothing differs', 0],
        ['one page', 1],
        ['every page', 'all'],
      ] as const
    ).map(([what, differ]) => ({ operation: `${method}, ${what}`, method, differ })),
  ),
] as const;

/** Changes one byte in each of `pages` pages. */
function damage(image: Image, pages: number): void {
  const space = image.space('old');
  const step = Math.floor(space.bytes / PAGE / pages);
  for (let page = 0; page < pages; page++) {
    const at = page * step * PAGE + PAGE / 2;
    const [byte = 0] = space.read(at, 1);
    space.write(at, Uint8Array.of(byte ^ 1));
  }
}

/** The bytes of the image once more, compared by the C library. */
function comparison(image: Image): () => void {
  const space = image.space('old');
  const copy = space.read(0, space.bytes);
  const memcmp = ffi.load('libc.so.6').func('int memcmp(uintptr_t a, uint8_t *b, size_t bytes)') as (
    a: bigint,
    b: Buffer,
    bytes: number,
  ) => number;
  return () => {
    if (memcmp(space.address, copy, copy.length) !== 0) throw new Error('the copy is not equal');
  };
}

function measure({ row }: CostTrial): CostMeasurement {
  const bytes = Number(row.parameters['imageBytes']);
  const what = OPERATIONS.find(({ operation }) => operation === row.parameters['operation']);
  if (what === undefined) throw new RangeError(`there is no operation '${String(row.parameters['operation'])}'`);
  const { method } = what;
  const pages = what.differ === 'all' ? bytes / PAGE : what.differ;
  const { image } = openImage(row, bytes);
  image.snapshot();
  const memcmp = comparison(image);
  const run = {
    memcmp,
    snapshot() {
      image.snapshot();
    },
    verify() {
      if (!image.verify().ok) throw new Error('the heap is not sound');
    },
    diff() {
      if (image.diff({ objects: 0 }).changedBytes !== pages) throw new Error(`not ${pages} bytes differ`);
    },
    restore() {
      if (image.restore() !== pages * PAGE) throw new Error(`not ${pages} pages were restored`);
    },
  }[method];
  if (method === 'diff') damage(image, pages);
  const prepare = (): void => {
    if (method === 'restore') damage(image, pages);
  };
  const settled = warmUp(() => {
    prepare();
    run();
  }, WARM_MS);
  const samples = Array.from({ length: SAMPLES }, () => {
    prepare();
    return timeNs(run);
  });
  return { samples, warnings: sampleWarnings(samples, settled) };
}

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'checking an image after a failed callout, and bringing it back',
  title: 'Checking the image, and bringing it back',
  question:
    'What does it cost after a failed callout to find out whether the image can be trusted, and to go back ' +
    'to the snapshot?',
  order: 70,
  shows: 'rows',
  parameters: { imageBytes: { role: 'size', unit: 'bytes' }, operation: { role: 'row' } },
  measures: 'image check',
  table: {
    rows: {
      verify: { operation: 'verify' },
      'diff, equal': { operation: 'diff, nothing differs' },
      memcmp: { operation: 'memcmp' },
      'restore one page': { operation: 'restore, one page' },
      'restore all pages': { operation: 'restore, every page' },
      snapshot: { operation: 'snapshot' },
    },
  },
  rows: ({ quick }) =>
    quick
      ? []
      : SIZES.flatMap((imageBytes) =>
          OPERATIONS.map(({ operation }): CostRow => ({
            mechanism: 'none',
            together: `${imageBytes}`,
            parameters: { imageBytes, operation },
          })),
        ),
  measure,
};
