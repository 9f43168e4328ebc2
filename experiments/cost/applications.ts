/**
 * How much slower does real work get, and how many callouts does it make in a second?
 *
 * Correct libraries are called through koffi and the guard (experiments/support/applications.ts):
 *
 *   zlib     over a 16 MiB file of real text, in chunks of three sizes
 *   SQLite   inserts rows, and hands rows back through a callback
 *   qsort    with a comparison callback
 *   libpng   row by row
 *
 * An image of 1 MiB is open meanwhile. The work is cut into units that are the same under every mechanism. Unit k of
 * one mechanism is set beside unit k of the other, and the bytes that come out are checked.
 * Varies: application, mechanism. Records: ns of one unit, callouts and callbacks in it.
 */
import type { CostExperiment } from '../../src/experiment/index.js';
import { applicationNamed, APPLICATIONS, timeUnits } from '../support/applications.js';
import { openImage } from '../support/cost-guard.js';
import { textFile } from '../support/text-file.js';

const IMAGE_BYTES = 1 << 20;
const ROUNDS = 4;
const QUICK_UNITS = 6;
/** Fast enough, and unlike each other. */
const QUICK: ReadonlySet<string> = new Set(['zlib, 4 KiB chunks', 'sqlite3, select']);

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'zlib, SQLite, qsort and libpng doing real work',
  title: 'Whole applications',
  question: 'How much slower does real work get?',
  order: 30,
  shows: 'ratios',
  parameters: { application: { role: 'row', alone: true }, imageBytes: { role: 'size', unit: 'bytes' } },
  measures: 'applications',
  table: {
    columns: { application: 'application' },
    found: { unit: 'unit', callouts: 'callouts', callbacks: 'callbacks', reads: 'reads' },
  },
  rounds: ({ quick }) => (quick ? 1 : ROUNDS),
  timeoutMs: 120_000,
  rows: ({ quick }) =>
    APPLICATIONS.filter(({ name }) => !quick || QUICK.has(name)).flatMap(({ name }) =>
      (quick
        ? (['none', 'flag', 'mprotect-range', 'pkeys'] as const)
        : (['none', 'flag', 'mprotect-page', 'mprotect-range', 'mprotect-naive', 'pkeys-glibc', 'pkeys'] as const)
      ).map((mechanism) => ({ mechanism, parameters: { application: name, imageBytes: IMAGE_BYTES } })),
    ),
  measure({ row, round, quick }) {
    const application = applicationNamed(String(row.parameters['application']));
    const { guard } = openImage(row, IMAGE_BYTES);
    const count = quick ? QUICK_UNITS : application.units / ROUNDS;
    const timed = timeUnits(application, guard, round * count, count);
    if ('skipped' in timed) return timed;
    const { samples, crossings, warm } = timed;
    return {
      samples,
      ...(warm ? {} : { warnings: [{ code: 'warm-up' }] }),
      found: {
        ...crossings,
        unit: application.unit,
        ...(application.library === 'libz.so.1' ? { file: `sha256 ${textFile().sha256}` } : {}),
      },
    };
  },
};
