/** The corruption matrix: cases by mechanisms, a verdict in each cell; and its totals. Pure functions of a run. */
import type { CorruptionRecord, Run, SkippedRecord } from '../../record/records.js';
import { CASE_GROUPS, type Lane, LANES, type Mechanism, VERDICTS } from '../../record/words.js';
import { cellsOf, columnOf, columnsOf, inOrder, lanesOf, laneTitle, skippedOf, toneOf, variantOf } from './records.js';
import { type Cell, left, right, type Row, type Table, words } from './table.js';

/** A variation that fewer than this share of a lane's cases were tried under gets rows, not a column. */
const FEW = 0.25;

/** A row of a matrix: a case, or a variation of one that few cases have. */
interface CaseRow {
  readonly name: string;
  readonly variant: string;
}

function rank(group: string): number {
  const at = (CASE_GROUPS as readonly string[]).indexOf(group);
  return at < 0 ? CASE_GROUPS.length : at;
}

/** Surprising cases stand first in their group. */
function matrix(run: Run, lane: Lane): Table {
  const all = cellsOf(run);
  const here = all.filter((record) => record.lane === lane);
  const missing = skippedOf(run).filter((record) => record.of === 'corruption' && record.lane === lane);
  const known = new Map([...all, ...here].map((record) => [record.case, record]));
  const cases = new Set([...here.map((record) => record.case), ...missing.map(({ name }) => name)]);
  const every = columnsOf(
    here,
    missing.map(({ mechanism }) => mechanism),
  );
  const isRare = ({ column, mechanism }: { readonly column: string; readonly mechanism: Mechanism }): boolean =>
    column !== mechanism &&
    !column.includes('+') &&
    here.filter((record) => columnOf(record) === column).length < FEW * cases.size;
  const rare = new Set(every.filter(isRare).map(({ column }) => column));
  const columns = every.filter(({ column }) => !rare.has(column));

  const byKey = new Map<string, CaseRow>();
  const rowOf = (record: CorruptionRecord): CaseRow => ({
    name: record.case,
    variant: rare.has(columnOf(record)) ? variantOf(record) : '',
  });
  for (const { name } of missing) byKey.set(JSON.stringify([name, '']), { name, variant: '' });
  for (const record of here) {
    const row = rowOf(record);
    byKey.set(JSON.stringify([row.name, row.variant]), row);
  }
  const surprising = new Set(
    here.filter(({ surprise, unstable }) => surprise || unstable).map((record) => record.case),
  );
  const groupOf = (name: string): string => known.get(name)?.group ?? 'not tried';
  const rows = [...byKey.values()].sort(
    (a, b) =>
      rank(groupOf(a.name)) - rank(groupOf(b.name)) ||
      Number(surprising.has(b.name)) - Number(surprising.has(a.name)) ||
      (a.name < b.name ? -1 : a.name > b.name ? 1 : a.variant < b.variant ? -1 : 1),
  );

  const records = new Map(here.map((record) => [JSON.stringify([record.case, columnOf(record)]), record]));
  const skipped = new Map(missing.map((record) => [JSON.stringify([record.name, record.mechanism]), record]));
  const cell = ({ name, variant }: CaseRow, column: string, mechanism: Mechanism): Cell => {
    // A row of a variation has verdicts in the columns of plain mechanisms alone.
    const isOwn = variant === '' || column === mechanism;
    const wanted = variant === '' ? column : `${mechanism}, ${variant}`;
    const record = isOwn ? records.get(JSON.stringify([name, wanted])) : undefined;
    if (record !== undefined) return { kind: 'verdict', record };
    const reason: SkippedRecord | undefined =
      variant === '' ? skipped.get(JSON.stringify([name, mechanism])) : undefined;
    return reason === undefined ? { kind: 'missing' } : { kind: 'missing', skipped: reason };
  };
  return {
    id: `matrix-${lane}`,
    title: `Corruption, ${laneTitle(run, lane)}`,
    columns: [
      left('case'),
      ...columns.map(({ column, mechanism }) => ({ title: column, align: 'left', mechanism }) as const),
    ],
    rows: rows.map((row): Row => {
      const detail = known.get(row.name)?.summary;
      return {
        group: groupOf(row.name),
        ...(detail === undefined ? {} : { detail }),
        cells: [
          words(row.variant === '' ? row.name : [row.name, ' ', { quiet: row.variant }]),
          ...columns.map(({ column, mechanism }) => cell(row, column, mechanism)),
        ],
      };
    }),
    notes: [`${cases.size} ${cases.size === 1 ? 'case' : 'cases'}, ${here.length} cells tried`],
    layout: 'matrix',
    lane,
    terminal: Number.POSITIVE_INFINITY,
  };
}

/** One matrix for each lane; those with keys first. */
export function matrices(run: Run): readonly Table[] {
  const all = cellsOf(run);
  const skipped = skippedOf(run).filter((record) => record.of === 'corruption');
  const hasKeys = (lane: Lane): boolean => all.some((record) => record.lane === lane && record.mechanism === 'pkeys');
  return [...lanesOf([...all, ...skipped])]
    .sort((a, b) => Number(hasKeys(b)) - Number(hasKeys(a)) || LANES.indexOf(a) - LANES.indexOf(b))
    .map((lane) => matrix(run, lane));
}

/**
 * How many cells of each verdict, per lane and mechanism; `damaged` divided by whether a fault was raised as well.
 */
export function totalsTable(run: Run): Table {
  const all = cellsOf(run);
  const isAnnounced = ({ announced }: CorruptionRecord): boolean => announced === true;
  interface Count {
    readonly name: string;
    readonly has: (record: CorruptionRecord) => boolean;
  }
  const counts = inOrder(
    VERDICTS,
    all.map(({ verdict }) => verdict),
  ).flatMap((verdict): readonly Count[] =>
    verdict === 'damaged'
      ? [
          { name: 'damaged, silent', has: (record) => record.verdict === verdict && !isAnnounced(record) },
          { name: 'damaged, announced', has: (record) => record.verdict === verdict && isAnnounced(record) },
        ]
      : [{ name: verdict, has: (record) => record.verdict === verdict }],
  );
  return {
    id: 'verdicts',
    title: 'Verdicts',
    columns: [
      left('lane'),
      left('mechanism'),
      right('VM came through'),
      ...counts.map(({ name }) => right(name, 'count')),
    ],
    rows: lanesOf(all).flatMap((lane) => {
      const here = all.filter((record) => record.lane === lane);
      return columnsOf(here).map(({ column }): Row => {
        const cells = here.filter((record) => columnOf(record) === column);
        return {
          cells: [
            words(lane),
            words(column),
            words(`${cells.filter((record) => toneOf(record) === 'good').length} of ${cells.length}`),
            ...counts.map(({ has }): Cell => ({ kind: 'figure', value: cells.filter(has).length, unit: 'count' })),
          ],
        };
      });
    }),
    notes: [],
    terminal: Number.POSITIVE_INFINITY,
  };
}

/** A space of the image, and what a run saw of it. */
export interface SpaceSeen {
  readonly name: string;
  readonly bytes: number | undefined;
  /** Key numbers that the kernel reported with faults in it, under a mechanism with keys. */
  readonly keys: readonly number[];
  readonly stopped: number;
  readonly landed: number;
}

/** The image's spaces: their keys as faults showed them, and how many stores each saw stopped or land. */
export function spacesSeen(run: Run): readonly SpaceSeen[] {
  const all = cellsOf(run);
  if (all.length === 0) return [];
  const names = new Set([
    ...(run.context.spaces ?? []).map(({ name }) => name),
    ...all.flatMap(({ evidence }) => evidence.fault?.space ?? []),
    ...all.flatMap(({ evidence }) => evidence.diff?.ranges.map(({ space }) => space) ?? []),
  ]);
  return [...names].map((name): SpaceSeen => {
    const faults = all.filter(({ evidence }) => evidence.fault?.space === name);
    const keys = faults
      .filter(({ mechanism }) => mechanism.startsWith('pkeys'))
      .flatMap(({ evidence }) => evidence.fault?.spaceKey ?? []);
    const landed = ({ verdict, evidence }: CorruptionRecord): boolean =>
      verdict === 'damaged' && evidence.diff?.ranges.some(({ space }) => space === name) === true;
    return {
      name,
      bytes: run.context.spaces?.find((space) => space.name === name)?.bytes,
      keys: [...new Set(keys)].sort((a, b) => a - b),
      stopped: faults.filter(({ verdict }) => verdict === 'prevented').length,
      landed: all.filter(landed).length,
    };
  });
}

/** The image as a table of its spaces. */
export function spacesTable(spaces: readonly SpaceSeen[]): Table {
  return {
    id: 'spaces',
    title: 'The image and its keys',
    columns: [
      left('space'),
      right('size', 'bytes'),
      left('key'),
      right('stores stopped', 'count'),
      right('landed', 'count'),
    ],
    rows: spaces.map(({ name, bytes, keys, stopped, landed }) => ({
      cells: [
        words({ strong: name }),
        bytes === undefined ? { kind: 'missing' } : { kind: 'figure', value: bytes, unit: 'bytes' },
        words(keys.length === 0 ? 'not seen in a fault' : keys.join(' or ')),
        { kind: 'figure', value: stopped, unit: 'count' },
        { kind: 'figure', value: landed, unit: 'count' },
      ],
    })),
    notes: [
      "Everything else (malloc's heap, the host's objects, globals, thread-local storage, other stacks) is on " +
        'key 0: never denied, not protected.',
    ],
  };
}
