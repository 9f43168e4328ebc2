/** What came after the callouts that a process outlived. Pure functions of a run. */
import type { CorruptionRecord } from '../../record/records.js';
import { type Basis, isRow, measuring } from './basis.js';
import { sizeOf } from './costs.js';
import { formatBytes, formatNs } from './format.js';
import { columnOf, columnsOf, corruptionOf, lanesOf } from './records.js';
import { type Cell, left, right, type Table, words } from './table.js';

const share = (count: number, of: number): Cell => words(of === 0 ? '–' : `${count} of ${of}`);

/** How many of the images that image.verify() was asked about it called unsound. */
function caughtByVerify(records: readonly CorruptionRecord[]): Cell {
  const walks = records.flatMap(({ evidence }) => evidence.diff?.heap ?? []);
  return share(walks.filter(({ sound }) => !sound).length, walks.length);
}

/** Operations on a whole image, and the rows that have them. */
const OPERATIONS = [
  ['verify()', 'verify'],
  ['diff()', 'diff, equal'],
  ['memcmp over as many bytes', 'memcmp'],
  ['restore() of one page', 'restore one page'],
  ['restore() of every page', 'restore all pages'],
  ['a new snapshot()', 'snapshot'],
] as const;

/** What checking and restoring the largest image takes. Empty where it was not measured. */
function checkTimes(basis: Basis): readonly string[] {
  const rows = measuring(basis, 'image check').filter(({ lane }) => lane === 'native');
  const bytes = Math.max(0, ...rows.map((row) => sizeOf(row) ?? 0));
  const parts = OPERATIONS.flatMap(([name, word]) =>
    rows.filter((row) => sizeOf(row) === bytes && isRow(row, word)).map(({ value }) => `${name} ${formatNs(value)}`),
  );
  return parts.length === 0 ? [] : [`times for an image of ${formatBytes(bytes)}, native lane: ${parts.join(', ')}`];
}

/**
 * Did the image have to be checked, did it differ, would walking the heap have told, did going back to the snapshot
 * help? Trials by lane and mechanism.
 */
export function aftermathTable(basis: Basis): Table {
  const all = corruptionOf(basis.run).filter(
    ({ evidence }) => evidence.diff !== null && evidence.process.stage === 'finished',
  );
  const differs = ({ evidence }: CorruptionRecord): boolean => (evidence.diff?.changedBytes ?? 0) > 0;
  const count = (list: readonly unknown[]): Cell => ({ kind: 'figure', value: list.length, unit: 'count' });
  const rows = lanesOf(all).flatMap((lane) =>
    columnsOf(all.filter((record) => record.lane === lane)).map(({ column }) => {
      const here = all.filter((record) => record.lane === lane && columnOf(record) === column);
      const failed = here.filter(({ evidence }) => evidence.fault !== null);
      const announced = failed.filter(differs);
      const silent = here.filter((record) => record.evidence.fault === null && differs(record));
      const restored = here.flatMap(({ evidence }) => evidence.restored ?? []);
      return {
        cells: [
          words(lane),
          words(column),
          count(failed),
          count(failed.filter(({ evidence }) => evidence.fault?.image !== 'protected')),
          count(announced),
          caughtByVerify(announced),
          count(silent),
          caughtByVerify(silent),
          share(restored.filter(({ equal }) => equal).length, restored.length),
        ],
      };
    }),
  );
  return {
    id: 'aftermath',
    title: 'After the callout: what had to be checked, and what brought it back',
    columns: [
      left('lane'),
      left('mechanism'),
      right('callouts failed', 'count'),
      right('image to be checked', 'count'),
      right('it differed', 'count'),
      right('verify() told of it'),
      right('differed, no fault', 'count'),
      right('verify() told of that'),
      right('restore() brought it back'),
    ],
    rows,
    notes: [
      "To be checked: the error did not say that the image was protected throughout (image: 'unknown'). " +
        'verify() walks the heap and tells of broken headers, sizes and pointers; other changed bytes only a ' +
        'comparison with the snapshot tells. Restored: compared again, no byte differs. Only trials in Node are ' +
        'verified and restored: the hosts in C and in Lua do neither.',
      ...checkTimes(basis),
    ],
  };
}
