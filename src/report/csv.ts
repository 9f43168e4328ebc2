/** A run's records as tables of comma-separated values (RFC 4180), for spreadsheets and statistics programs. Pure. */
import type { CostRecord, Run } from '../record/records.js';
import { bootstrapMedian } from './bootstrap.js';
import { costKey, costs as costCells, ratioOf, variation } from './html/figures.js';
import { columnOf, corruptionOf, costsOf, honestOf, skippedOf } from './model.js';
import { spreadOf } from './spread.js';

type Field = string | number | boolean | null | undefined;

/** One line. Null and undefined are empty fields. */
export function csvLine(fields: readonly Field[]): string {
  return `${fields
    .map((field) => {
      const text = field === null || field === undefined ? '' : String(field);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(',')}\r\n`;
}

function table(head: readonly string[], rows: readonly (readonly Field[])[]): string {
  return [head, ...rows].map(csvLine).join('');
}

function parameterNames(records: readonly CostRecord[]): readonly string[] {
  return [...new Set(records.flatMap((record) => Object.keys(record.parameters)))].sort();
}

/**
 * The tables, by file name. `costs.csv` has a line for each row, `samples.csv` one for each sample; `row` joins them.
 */
export function renderCsv(run: Run): ReadonlyMap<string, string> {
  const costs = costsOf(run);
  const all = costCells(run);
  const cells = new Map(all.map((cell) => [costKey(cell), cell]));
  const names = parameterNames(costs);
  const parameters = (record: CostRecord): readonly Field[] => names.map((name) => record.parameters[name]);
  const heads = names.map((name) => `parameter_${name}`);
  return new Map([
    [
      'corruption.csv',
      table(
        [
          'case',
          'group',
          'mechanism',
          'column',
          'lane',
          'deny',
          'verdict',
          'announced',
          'expected',
          'surprise',
          'unstable',
          'repetitions',
          'seed',
          'because',
          'si_code',
          'pkey',
          'address',
          'space',
          'space_key',
          'pc',
          'symbol',
          'changed_bytes',
          'errno',
          'exit_code',
          'signal',
          'image_at_death',
        ],
        corruptionOf(run).map((record) => {
          const { fault, diff, errno, process, because } = record.evidence;
          return [
            record.case,
            record.group,
            record.mechanism,
            columnOf(record),
            record.lane,
            record.deny,
            record.verdict,
            record.announced,
            record.expected.verdicts.join(' or '),
            record.surprise,
            record.unstable,
            record.repetitions.join(' '),
            record.seed,
            because,
            fault?.siCodeName,
            fault?.pkey,
            fault?.address,
            fault?.space,
            fault?.spaceKey,
            fault?.pc,
            fault?.symbol,
            diff?.changedBytes,
            errno,
            process.exitCode,
            process.signal,
            process.imageAtDeath,
          ];
        }),
      ),
    ],
    [
      'honest.csv',
      table(
        ['case', 'mechanism', 'lane', 'outcome', 'sha256', 'bytes', 'callouts', 'image_equal', 'detail'],
        honestOf(run).map((record) => [
          record.case,
          record.mechanism,
          record.lane,
          record.outcome,
          record.sha256,
          record.bytes,
          record.callouts,
          record.imageEqual,
          record.detail,
        ]),
      ),
    ],
    [
      'costs.csv',
      table(
        [
          'row',
          'experiment',
          'mechanism',
          'lane',
          ...heads,
          'unit',
          'median',
          'interval_low',
          'interval_high',
          'mad',
          'outliers',
          'least',
          'samples',
          'unguarded',
          'ratio',
          'ratio_low',
          'ratio_high',
          'paired',
          'wrpkru',
          'rdpkru',
          'syscalls',
          'faults',
          'observed',
          'processes',
          'warnings',
        ],
        costs.map((record, row) => {
          const cell = cells.get(costKey({ ...record, varied: variation(record) }));
          const ratio = cell === undefined ? null : ratioOf(cell, all);
          const interval =
            record.unit === 'ns' && record.samples.length >= 5 ? bootstrapMedian(record.samples) : undefined;
          const spread = record.unit === 'ns' ? spreadOf(record.samples) : undefined;
          return [
            row,
            record.experiment,
            record.mechanism,
            record.lane,
            ...parameters(record),
            record.unit,
            record.median,
            interval?.low,
            interval?.high,
            spread?.mad,
            spread?.outliers.map(({ sample }) => sample).join(' '),
            Math.min(...record.samples),
            record.samples.length,
            ratio?.baseline.value,
            ratio?.ratio,
            ratio?.interval?.low,
            ratio?.interval?.high,
            ratio?.interval == null ? undefined : ratio.paired,
            record.counts?.wrpkru,
            record.counts?.rdpkru,
            record.counts?.syscalls,
            record.counts?.faults,
            record.observed === undefined
              ? undefined
              : Object.entries(record.observed)
                  .map(([name, value]) => `${name} ${value}`)
                  .join('; '),
            record.method?.processes,
            record.warnings?.join('; '),
          ];
        }),
      ),
    ],
    [
      'samples.csv',
      table(
        ['row', 'experiment', 'mechanism', 'lane', ...heads, 'unit', 'sample', 'value'],
        costs.flatMap((record, row) =>
          record.samples.map((value, sample) => [
            row,
            record.experiment,
            record.mechanism,
            record.lane,
            ...parameters(record),
            record.unit,
            sample,
            value,
          ]),
        ),
      ),
    ],
    [
      'skipped.csv',
      table(
        ['of', 'name', 'mechanism', 'lane', 'broken', 'reason'],
        skippedOf(run).map((record) => [
          record.of,
          record.name,
          record.mechanism,
          record.lane,
          record.broken ?? false,
          record.reason,
        ]),
      ),
    ],
  ]);
}
