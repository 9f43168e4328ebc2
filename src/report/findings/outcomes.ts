/** Honest work, what was not as expected, and what could not be tried. Pure functions of a run. */
import type { CorruptionRecord, HonestRecord, Run, SkippedRecord } from '../../record/records.js';
import { MECHANISMS } from '../../record/words.js';
import { HARDENED } from '../../record/words.js';
import { formatCount } from './format.js';
import {
  cellsOf,
  columnOf,
  hardenedName,
  honestOf,
  inOrder,
  lanesOf,
  mechanismsOf,
  skippedOf,
  verdictText,
} from './records.js';
import { type Cell, left, type Table, words } from './table.js';
import { someOf } from './text.js';

/** A row that was not as expected, with its record. */
export interface Surprise {
  readonly record: CorruptionRecord | HonestRecord | SkippedRecord;
  readonly title: string;
  readonly lines: readonly string[];
}

/** All that was not as expected, to be shown first. */
export function surprises(run: Run): readonly Surprise[] {
  const corruption = cellsOf(run)
    .filter(({ surprise, unstable }) => surprise || unstable)
    .map((record): Surprise => ({
      record,
      title: `${record.case}, ${columnOf(record)}, ${record.lane}: ${verdictText(record)}`,
      lines: [
        `expected ${record.expected.verdicts.join(' or ')}: ${record.expected.why}`,
        `seen: ${record.evidence.because}`,
        ...record.evidence.missing.map((text) => `not held: ${text}`),
        ...(record.unstable ? [`repetitions: ${record.repetitions.join(', ')}`] : []),
      ],
    }));
  const honest = honestOf(run)
    .filter(({ outcome, imageEqual }) => outcome === 'differs' || outcome === 'failed' || imageEqual === false)
    .map((record): Surprise => ({
      record,
      title: `honest ${record.case}, ${record.mechanism}, ${record.lane}: ${record.outcome}`,
      lines: [record.detail],
    }));
  const broken = skippedOf(run)
    .filter((record) => record.broken === true)
    .map((record): Surprise => ({
      record,
      title: `${record.of} ${record.name}, ${record.mechanism}, ${record.lane}: could not be tried`,
      lines: [record.reason],
    }));
  return [...corruption, ...honest, ...broken];
}

function honestCell(record: HonestRecord | undefined): Cell {
  if (record === undefined) return words('skipped', 'missing');
  const { outcome, imageEqual } = record;
  const isFine = (outcome === 'same' || outcome === 'reference') && imageEqual === true;
  return words(
    `${outcome === 'reference' ? 'same (reference)' : outcome}${isFine ? '' : ' !'}`,
    isFine ? 'good' : 'bad',
  );
}

/** Honest work: cases by mechanisms, lane by lane. */
export function honestTable(run: Run): Table {
  const all = honestOf(run);
  const mechanisms = mechanismsOf(all);
  const columns = mechanisms.flatMap((mechanism) =>
    [undefined, ...HARDENED].flatMap((harden) =>
      all.some((record) => record.mechanism === mechanism && record.harden === harden) ? [{ mechanism, harden }] : [],
    ),
  );
  const names = [...new Set(all.map((record) => record.case))];
  return {
    id: 'honest',
    title: 'Honest work: the same bytes?',
    columns: [
      left('lane'),
      left('case'),
      ...columns.map(
        (column) => ({ title: hardenedName(column), align: 'left', mechanism: column.mechanism }) as const,
      ),
    ],
    rows: lanesOf(all).flatMap((lane) =>
      names.map((name) => ({
        cells: [
          words(lane),
          words(name),
          ...columns.map(({ mechanism, harden }) =>
            honestCell(
              all.find(
                (record) =>
                  record.lane === lane &&
                  record.case === name &&
                  record.mechanism === mechanism &&
                  record.harden === harden,
              ),
            ),
          ),
        ],
      })),
    ),
    notes: names.flatMap((name) => {
      const reference = all.find((record) => record.case === name && record.outcome === 'reference');
      return reference?.sha256 == null
        ? []
        : [
            `${name}: SHA-256 ${reference.sha256.slice(0, 16)}…, ${formatCount(reference.bytes ?? 0)} bytes, ` +
              `${formatCount(reference.callouts ?? 0)} callouts`,
          ];
    }),
    terminal: Number.POSITIVE_INFINITY,
  };
}

/** Named of what was skipped for the same reason; all of them are in the run. */
const MOST_NAMES = 8;

/** Skipped rows, joined by lane and reason. */
export function skippedTable(run: Run): Table {
  const groups = new Map<string, SkippedRecord[]>();
  for (const record of skippedOf(run)) {
    const key = JSON.stringify([record.lane, record.reason]);
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  return {
    id: 'skipped',
    title: 'Skipped',
    columns: [
      left('lane'),
      left('mechanisms'),
      { title: 'rows', align: 'right', unit: 'count' },
      left('what'),
      left('reason'),
    ],
    rows: [...groups.values()].map((records) => ({
      cells: [
        words(records[0]?.lane ?? ''),
        words(
          inOrder(
            MECHANISMS,
            records.map(({ mechanism }) => mechanism),
          ).join(', '),
        ),
        { kind: 'figure', value: records.length, unit: 'count' },
        words(someOf([...new Set(records.map(({ name }) => name))], MOST_NAMES)),
        words(records[0]?.reason ?? ''),
      ],
    })),
    notes: [],
    terminal: Number.POSITIVE_INFINITY,
  };
}
