/**
 * The costs of a run as plain tables, one for each experiment and lane: what the terminal and report.md show. Pure
 * functions of a run.
 */
import type { Run } from '../record/records.js';
import { LANES } from '../record/words.js';
import {
  type Cost,
  costs,
  EVENTS_NOTE,
  eventsText,
  gridOf,
  nameText,
  plainValue,
  ratioOf,
  timesText,
  valueOf,
} from './html/figures.js';
import { EXPERIMENT_ORDER, EXPERIMENTS, LANE_MEANINGS } from './html/words.js';
import type { Cell, Table } from './model.js';

/** The experiments that a run has costs of, in the order of reports. */
export function experimentsOf(run: Run): readonly string[] {
  const present = [...new Set(costs(run).map((cost) => cost.experiment))];
  return [
    ...EXPERIMENT_ORDER.filter((name) => present.includes(name)),
    ...present.filter((name) => !EXPERIMENT_ORDER.includes(name)),
  ];
}

/** A cost as it stands in a table: the figure, and how many times the unguarded one where that is told. */
export function costCellText(cost: Cost, all: readonly Cost[]): string {
  const ratio = ratioOf(cost, all);
  return [valueOf(cost, cost.value), ratio === null ? '' : timesText(ratio.ratio), eventsText(cost)]
    .filter((part) => part !== '')
    .join(' ');
}

/** One table for each experiment and lane that has any. `most`: rows of one table; all where missing. */
export function costTables(run: Run, most = Number.POSITIVE_INFINITY): readonly Table[] {
  const all = costs(run);
  return experimentsOf(run).flatMap((experiment) =>
    LANES.flatMap((lane): readonly Table[] => {
      const cells = all.filter((cost) => cost.experiment === experiment);
      const { names, mechanisms, rows } = gridOf(cells, lane);
      if (rows.length === 0) return [];
      const shown = rows.slice(0, most);
      return [
        {
          title: `${EXPERIMENTS[experiment]?.title ?? experiment} (${experiment}), ${lane} lane`,
          head: [...names.map(nameText), ...mechanisms],
          rows: shown.map(({ values, cells: row }): readonly Cell[] => [
            ...values.map((value, at): Cell => ({ text: plainValue(names[at] ?? '', value), tone: 'plain' })),
            ...row.map((cost): Cell =>
              cost === undefined ? { text: '', tone: 'missing' } : { text: costCellText(cost, all), tone: 'plain' },
            ),
          ]),
          notes: [
            ...(rows.length > shown.length ? [`${rows.length - shown.length} more rows are in the report`] : []),
            `${lane} lane: ` +
              `${LANE_MEANINGS[lane] ?? ''}${cells.some((cost) => cost.lane === lane && ratioOf(cost, all) !== null) ? '; × is how many times the unguarded row' : ''}${cells.some((cost) => cost.lane === lane && eventsText(cost) !== '') ? `; ${EVENTS_NOTE}` : ''}`,
          ],
          numericFrom: names.length,
        },
      ];
    }),
  );
}
