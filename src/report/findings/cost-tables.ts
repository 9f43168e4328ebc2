/** The costs of each experiment as tables: the figures, and what statistics say of them. Pure functions of cells. */
import type { ExperimentContext } from '../../record/description.js';
import { type Lane, LANES, MECHANISMS } from '../../record/words.js';
import type { Ratio } from './baseline.js';
import { type Cost, sizeOf } from './costs.js';
import { fitsOf } from './fits.js';
import type { Unit } from './format.js';
import { inOrder } from './records.js';
import { type Cell, left, MISSING, ofMechanism, right, type Row, type Table, words } from './table.js';
import { describeCost, nameText, plainValue, valueOf, variantOf } from './variation.js';
import { EVENTS_NOTE, LANE_MEANINGS } from './words.js';

/** In a terminal, of one experiment and lane. */
const MOST_TERMINAL_ROWS = 12;
/** Outliers of one row named in a table; the rest are in the raw data. */
const MOST_OUTLIERS = 4;

/** A cost in a cell: the figure, how many times the unguarded one, the events of counted rows. */
export function costCell(cost: Cost | undefined, ratios: ReadonlyMap<Cost, Ratio>): Cell {
  if (cost === undefined) return MISSING;
  const ratio = ratios.get(cost);
  return {
    kind: 'figure',
    value: cost.value,
    unit: cost.unit,
    ...(ratio === undefined ? {} : { times: ratio.ratio }),
    ...(cost.unit === 'ns' || cost.counts === undefined ? {} : { events: cost.counts }),
    detail: describeCost(cost),
  };
}

/** All cells of an experiment in one lane: variations by mechanisms, rows in the order of their values. */
function costTable(
  experiment: ExperimentContext,
  here: readonly Cost[],
  lane: Lane,
  ratios: ReadonlyMap<Cost, Ratio>,
): Table {
  const mechanisms = inOrder(
    MECHANISMS,
    here.map(({ mechanism }) => mechanism),
  );
  const names = [...new Set(here.flatMap(({ varied }) => Object.keys(varied)))];
  const order = (a: Cost, b: Cost): number => {
    for (const name of names) {
      const [value, other] = [a.varied[name], b.varied[name]];
      if (value === other) continue;
      return typeof value === 'number' && typeof other === 'number'
        ? value - other
        : String(value) < String(other)
          ? -1
          : 1;
    }
    return 0;
  };
  const rows = new Map<string, Cost[]>();
  for (const cost of [...here].sort(order)) {
    const key = JSON.stringify(names.map((name) => cost.varied[name] ?? null));
    rows.set(key, [...(rows.get(key) ?? []), cost]);
  }
  return {
    id: `costs-${experiment.name}-${lane}`,
    title: `${experiment.title} (${experiment.name}), ${lane} lane`,
    columns: [...names.map((name) => left(nameText(name))), ...mechanisms.map((mechanism) => ofMechanism(mechanism))],
    rows: [...rows.values()].map((row): Row => ({
      cells: [
        ...names.map((name) => words(plainValue(name, row[0]?.varied[name], experiment.parameters[name]))),
        ...mechanisms.map((mechanism) =>
          costCell(
            row.find((cost) => cost.mechanism === mechanism),
            ratios,
          ),
        ),
      ],
    })),
    notes: [
      [
        `${lane} lane: ${LANE_MEANINGS[lane]}`,
        ...(here.some((cost) => ratios.has(cost)) ? ['; × is how many times the unguarded row'] : []),
        ...(here.some(({ unit, counts }) => unit !== 'ns' && counts !== undefined) ? [`; ${EVENTS_NOTE}`] : []),
      ].join(''),
    ],
    lane,
    terminal: MOST_TERMINAL_ROWS,
  };
}

/** The tables of an experiment, one for each lane that it was measured in. */
export function costTables(
  experiment: ExperimentContext,
  cells: readonly Cost[],
  ratios: ReadonlyMap<Cost, Ratio>,
): readonly Table[] {
  return LANES.flatMap((lane) => {
    const here = cells.filter((cost) => cost.lane === lane);
    return here.length === 0 ? [] : [costTable(experiment, here, lane, ratios)];
  });
}

/** Median, interval, deviation, outliers and ratio of each timed row. */
export function statisticsTable(
  experiment: ExperimentContext,
  cells: readonly Cost[],
  ratios: ReadonlyMap<Cost, Ratio>,
): Table {
  const rows = cells.flatMap((cost): readonly Row[] => {
    const { interval, spread, samples, mechanism } = cost;
    if (interval === null || spread === null) return [];
    const ratio = ratios.get(cost);
    const { outliers } = spread;
    const named = outliers.slice(0, MOST_OUTLIERS).map(({ sample, value }) => `${sample}: ${valueOf(cost, value)}`);
    return [
      {
        cells: [
          words(mechanism),
          words(variantOf(cost, [])),
          { kind: 'figure', value: cost.value, unit: 'ns' },
          { kind: 'range', ...interval, unit: 'ns' },
          { kind: 'figure', value: spread.mad, unit: 'ns' },
          { kind: 'figure', value: samples.length, unit: 'count' },
          ratio?.interval == null
            ? MISSING
            : {
                kind: 'range',
                middle: ratio.ratio,
                ...ratio.interval,
                unit: 'times',
                ...(ratio.paired ? {} : { after: ' (not paired)' }),
              },
          words(
            named.join(', ') + (outliers.length > MOST_OUTLIERS ? ` and ${outliers.length - MOST_OUTLIERS} more` : ''),
          ),
        ],
      },
    ];
  });
  return {
    id: `statistics-${experiment.name}`,
    title: `Intervals, deviations, outliers and ratios (${experiment.name})`,
    columns: [
      left('mechanism'),
      left('variation'),
      right('median', 'ns'),
      right('95 % interval', 'ns'),
      right('MAD', 'ns'),
      right('samples', 'count'),
      right('× unguarded, 95 %', 'times'),
      left('outliers (number: value)'),
    ],
    rows,
    notes: [],
    folded: true,
    evidence: true,
  };
}

/** Straight lines through an experiment's costs by pages of 4 KiB. */
export function fitsTable(experiment: ExperimentContext, cells: readonly Cost[]): Table {
  return {
    id: `fits-${experiment.name}`,
    title: `Straight lines through costs by pages of 4 KiB (${experiment.name})`,
    columns: [
      left('lane'),
      left('mechanism'),
      left('variation'),
      right('intercept'),
      right('per page'),
      right('r²', 'plain'),
    ],
    rows: fitsOf(cells).map(({ first, variant, intercept, perPage, rSquared }) => {
      const perPageUnit: Unit = first.unit === 'ns' ? 'ns' : 'instructions per page';
      return {
        cells: [
          words(first.lane),
          words(first.mechanism),
          words(variant),
          { kind: 'figure', value: intercept, unit: first.unit },
          { kind: 'figure', value: perPage, unit: perPageUnit },
          rSquared === undefined ? words('constant') : words(rSquared.toFixed(4)),
        ],
      };
    }),
    notes: ['Least squares over 4 KiB pages. A slope of zero is what “keys are flat” means.'],
    folded: true,
  };
}

/** The figures of a chart with one row for each thing: names, sizes, costs. */
export function rungsTable(
  lane: Lane,
  rungs: readonly { readonly label: string; readonly cost: Cost }[],
  ratios: ReadonlyMap<Cost, Ratio>,
): Table {
  return {
    id: `ladder-${lane}`,
    title: `Cost ladder, ${lane} lane`,
    columns: [left('way'), right('image', 'bytes'), right('cost')],
    rows: rungs.map(({ label, cost }) => {
      const size = sizeOf(cost);
      return {
        cells: [
          words(label),
          size === undefined ? MISSING : { kind: 'figure', value: size, unit: 'bytes' },
          costCell(cost, ratios),
        ],
      };
    }),
    notes: [],
    lane,
    folded: true,
  };
}
