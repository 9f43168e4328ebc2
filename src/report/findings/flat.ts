/** A run's records as flat tables, for spreadsheets and statistics programs: a line for each row, and each sample. */
import type { CostRecord, Values } from '../../record/records.js';
import type { Basis } from './basis.js';
import { bootstrapMedian } from './bootstrap.js';
import { type Cost, costKey, LEAST_SAMPLES, recordKey } from './costs.js';
import { cellsOf, columnOf, costsOf, honestOf, skippedOf } from './records.js';
import { spreadOf } from './spread.js';
import { warningText } from './warnings.js';

export type Field = string | number | boolean | null | undefined;

export interface FlatTable {
  readonly name: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly Field[])[];
}

/** A table from named fields: the first row's names are the head. */
function table<T>(
  name: string,
  records: readonly T[],
  fields: readonly (readonly [string, (record: T) => Field])[],
): FlatTable {
  return {
    name,
    head: fields.map(([title]) => title),
    rows: records.map((record) => fields.map(([, field]) => field(record))),
  };
}

function corruptionTable({ run }: Basis): FlatTable {
  return table('corruption', cellsOf(run), [
    ['case', (record) => record.case],
    ['group', (record) => record.group],
    ['mechanism', (record) => record.mechanism],
    ['column', columnOf],
    ['lane', (record) => record.lane],
    ['deny', (record) => record.deny],
    ['verdict', (record) => record.verdict],
    ['announced', (record) => record.announced],
    ['expected', (record) => record.expected.verdicts.join(' or ')],
    ['surprise', (record) => record.surprise],
    ['unstable', (record) => record.unstable],
    ['repetitions', (record) => record.repetitions.join(' ')],
    ['seed', (record) => record.seed],
    ['because', ({ evidence }) => evidence.because],
    ['si_code', ({ evidence }) => evidence.fault?.siCodeName],
    ['pkey', ({ evidence }) => evidence.fault?.pkey],
    ['address', ({ evidence }) => evidence.fault?.address],
    ['space', ({ evidence }) => evidence.fault?.space],
    ['space_key', ({ evidence }) => evidence.fault?.spaceKey],
    ['pc', ({ evidence }) => evidence.fault?.pc],
    ['symbol', ({ evidence }) => evidence.fault?.symbol],
    ['changed_bytes', ({ evidence }) => evidence.diff?.changedBytes],
    ['errno', ({ evidence }) => evidence.errno],
    ['exit_code', ({ evidence }) => evidence.process.exitCode],
    ['signal', ({ evidence }) => evidence.process.signal],
    ['image_at_death', ({ evidence }) => evidence.process.imageAtDeath],
  ]);
}

function honestTable({ run }: Basis): FlatTable {
  return table('honest', honestOf(run), [
    ['case', (record) => record.case],
    ['mechanism', (record) => record.mechanism],
    ['lane', (record) => record.lane],
    ['outcome', (record) => record.outcome],
    ['sha256', (record) => record.sha256],
    ['bytes', (record) => record.bytes],
    ['callouts', (record) => record.callouts],
    ['image_equal', (record) => record.imageEqual],
    ['detail', (record) => record.detail],
  ]);
}

type Named<T> = readonly (readonly [string, (entry: T) => Field])[];

/** A column for each parameter that any row has. */
function parameterFields<T extends { readonly record: CostRecord }>(
  records: readonly CostRecord[],
  prefix: string,
  values: (record: CostRecord) => Values,
): Named<T> {
  const names = [...new Set(records.flatMap((record) => Object.keys(values(record))))].sort();
  return names.map((name) => [`${prefix}_${name}`, ({ record }) => values(record)[name]] as const);
}

interface CostEntry {
  readonly record: CostRecord;
  /** Joins costs and samples. */
  readonly row: number;
  readonly cell: Cost | undefined;
}

function costTables({ run, cells, ratios }: Basis): readonly FlatTable[] {
  const records = costsOf(run);
  const byKey = new Map(cells.map((cell) => [costKey(cell, cell.experiment.name), cell]));
  const entries = records.map((record, row): CostEntry => ({ record, row, cell: byKey.get(recordKey(record)) }));
  const ratioOf = ({ cell }: CostEntry): ReturnType<typeof ratios.get> =>
    cell === undefined ? undefined : ratios.get(cell);
  const interval = ({ record }: CostEntry): ReturnType<typeof bootstrapMedian> | undefined =>
    record.unit === 'ns' && record.samples.length >= LEAST_SAMPLES ? bootstrapMedian(record.samples) : undefined;
  const spread = ({ record }: CostEntry): ReturnType<typeof spreadOf> | undefined =>
    record.unit === 'ns' ? spreadOf(record.samples) : undefined;
  const identity: Named<CostEntry> = [
    ['row', ({ row }) => row],
    ['experiment', ({ record }) => record.experiment],
    ['mechanism', ({ record }) => record.mechanism],
    ['lane', ({ record }) => record.lane],
    ...parameterFields<CostEntry>(records, 'varied', ({ varied }) => varied),
    ['unit', ({ record }) => record.unit],
  ];
  const samples = entries.flatMap((entry) =>
    entry.record.samples.map((value, sample) => ({ ...entry, sample, value })),
  );
  return [
    table('costs', entries, [
      ...identity,
      ...parameterFields<CostEntry>(records, 'found', ({ found }) => found),
      ['median', ({ record }) => record.median],
      ['interval_low', (entry) => interval(entry)?.low],
      ['interval_high', (entry) => interval(entry)?.high],
      ['mad', (entry) => spread(entry)?.mad],
      [
        'outliers',
        (entry) =>
          spread(entry)
            ?.outliers.map(({ sample }) => sample)
            .join(' '),
      ],
      ['least', ({ record }) => Math.min(...record.samples)],
      ['samples', ({ record }) => record.samples.length],
      ['unguarded', (entry) => ratioOf(entry)?.baseline.value],
      ['ratio', (entry) => ratioOf(entry)?.ratio],
      ['ratio_low', (entry) => ratioOf(entry)?.interval?.low],
      ['ratio_high', (entry) => ratioOf(entry)?.interval?.high],
      ['paired', (entry) => (ratioOf(entry)?.interval == null ? undefined : ratioOf(entry)?.paired)],
      ['wrpkru', ({ record }) => record.counts?.wrpkru],
      ['rdpkru', ({ record }) => record.counts?.rdpkru],
      ['syscalls', ({ record }) => record.counts?.syscalls],
      ['faults', ({ record }) => record.counts?.faults],
      [
        'observed',
        ({ record }) =>
          record.observed === undefined
            ? undefined
            : Object.entries(record.observed)
                .map(([name, value]) => `${name} ${value}`)
                .join('; '),
      ],
      ['processes', ({ record }) => record.method?.processes],
      ['warnings', ({ record }) => record.warnings?.map((warning) => warningText(warning).text).join('; ')],
    ]),
    table('samples', samples, [...identity, ['sample', ({ sample }) => sample], ['value', ({ value }) => value]]),
  ];
}

function skippedTable({ run }: Basis): FlatTable {
  return table('skipped', skippedOf(run), [
    ['of', (record) => record.of],
    ['name', (record) => record.name],
    ['mechanism', (record) => record.mechanism],
    ['lane', (record) => record.lane],
    ['broken', (record) => record.broken ?? false],
    ['reason', (record) => record.reason],
  ]);
}

/** The records' tables. `costs` has a line for each row, `samples` one for each sample; `row` joins them. */
export function flatTables(basis: Basis): readonly FlatTable[] {
  return [corruptionTable(basis), honestTable(basis), ...costTables(basis), skippedTable(basis)];
}
