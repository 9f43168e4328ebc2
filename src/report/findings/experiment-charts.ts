/** The charts of one cost experiment, as it says that it is drawn (`shows`, and the roles of its parameters). */
import type { ExperimentContext } from '../../record/description.js';
import type { Lane } from '../../record/words.js';
import type { Ratio } from './baseline.js';
import {
  type Axis,
  costAxis,
  type Dot,
  intervalOf,
  type LookName,
  type Panel,
  ratioAxis,
  seriesOver,
  SHAPE_SIGNS,
  sizeAxis,
  stepAxis,
} from './charts.js';
import { type Cost, isWhole, namesWith } from './costs.js';
import { formatBytes } from './format.js';
import { describeCost, nameText, plainValue, ratioText, variantOf } from './variation.js';
import { LANE_MEANINGS } from './words.js';

/** More rows than this are left to the table. */
const MOST_ROWS = 28;
/** More variants than this are rows, not a panel each. */
const MOST_PANELS = 6;

const laneNote = (lane: Lane): string => `${lane} lane: ${LANE_MEANINGS[lane]}`;
const unitTitle = (unit: Cost['unit']): string => (unit === 'ns' ? 'Time' : 'Executed instructions');

/** The parameter of an x axis: the first with more than one value, all of them positive numbers. */
function xParameter(experiment: ExperimentContext, cells: readonly Cost[]): string | undefined {
  return [...namesWith(experiment, 'x'), ...namesWith(experiment, 'size')].find((name) => {
    const values = cells.map(({ varied }) => varied[name]);
    return values.every((value) => typeof value === 'number' && value > 0) && new Set(values).size > 1;
  });
}

/** Lines over the x parameter, a panel for each variant; none where there are too many. */
function lines(experiment: ExperimentContext, cells: readonly Cost[], lane: Lane): readonly Panel[] {
  const name = xParameter(experiment, cells);
  const unit = cells[0]?.unit;
  if (name === undefined || unit === undefined) return [];
  const constant = [...new Set(cells.flatMap(({ varied }) => Object.keys(varied)))].filter(
    (candidate) => candidate !== name && new Set(cells.map(({ varied }) => varied[candidate])).size === 1,
  );
  const variant = (cost: Cost): string => variantOf(cost, [name, ...constant]);
  const variants = [...new Set(cells.map(variant))];
  if (variants.length > MOST_PANELS) return [];
  const x = (cost: Cost): number => Number(cost.varied[name]);
  const values = cells.map(x);
  const role = experiment.parameters[name]?.role;
  const axis: Axis =
    role === 'size' || name.endsWith('Bytes')
      ? sizeAxis(values, role === 'size' ? 'image size' : nameText(name))
      : stepAxis(values, nameText(name));
  const y = costAxis(cells, unit);
  return variants.map((words): Panel => {
    const title = words === '' ? unitTitle(unit) : words;
    return {
      lane,
      title,
      note: laneNote(lane),
      chart: {
        kind: 'lines',
        name: `${experiment.title}, ${title}, ${lane} lane`,
        x: axis,
        y,
        series: seriesOver(
          cells.filter((cost) => variant(cost) === words),
          x,
        ),
      },
    };
  });
}

/**
 * Rows of how many times the unguarded cost; a panel for each value of a panel's parameter, a shape for each series'.
 */
function ratios(
  experiment: ExperimentContext,
  cells: readonly Cost[],
  lane: Lane,
  known: ReadonlyMap<Cost, Ratio>,
): readonly Panel[] {
  const unit = cells[0]?.unit ?? 'ns';
  const [panelName] = namesWith(experiment, 'panel');
  const [seriesName] = namesWith(experiment, 'series');
  const hidden = [
    ...namesWith(experiment, 'size'),
    ...namesWith(experiment, 'panel'),
    ...namesWith(experiment, 'series'),
  ];
  const slowed = cells.flatMap((cost) => {
    const ratio = known.get(cost);
    return ratio === undefined || cost.mechanism === 'none' ? [] : [{ cost, ratio, label: variantOf(cost, hidden) }];
  });
  const labels = [...new Set(slowed.map(({ label }) => label))];
  if (slowed.length === 0 || labels.length > MOST_ROWS) return [];
  const valueIn = (cost: Cost, name: string | undefined): string =>
    name === undefined ? '' : plainValue(name, cost.varied[name], experiment.parameters[name]);
  const steps = [
    ...new Set(
      slowed.flatMap(({ cost }) => {
        const value = seriesName === undefined ? undefined : cost.varied[seriesName];
        return typeof value === 'number' ? [value] : [];
      }),
    ),
  ].sort((a, b) => a - b);
  const shapeOf = (cost: Cost): { readonly shape?: number } => {
    const at = seriesName === undefined ? -1 : steps.indexOf(Number(cost.varied[seriesName]));
    return at < 0 ? {} : { shape: at % SHAPE_SIGNS.length };
  };
  const signs = steps
    .map((step, at) => `${SHAPE_SIGNS[at % SHAPE_SIGNS.length] ?? ''} ${step} ${nameText(seriesName ?? '')}`)
    .join(', ');
  const what = unit === 'ns' ? 'long as' : 'many instructions as';
  return [...new Set(slowed.map(({ cost }) => valueIn(cost, panelName)))].map((question): Panel => ({
    lane,
    title:
      `${question === '' ? 'Times' : `One ${question}: times`} as ${what} ` +
      `unguarded${signs === '' ? '' : `: ${signs}`}`,
    note: laneNote(lane),
    chart: {
      kind: 'dots',
      name: `${experiment.title}${question === '' ? '' : `, ${question}`}, slowdown, ${lane} lane`,
      x: ratioAxis(
        slowed.map(({ ratio }) => ratio.ratio),
        unit,
      ),
      reference: 1,
      rows: labels.map((label) => ({
        label,
        dots: slowed
          .filter((entry) => entry.label === label && valueIn(entry.cost, panelName) === question)
          .map(({ cost, ratio }): Dot => ({
            look: cost.mechanism,
            ...shapeOf(cost),
            x: ratio.ratio,
            ...(ratio.interval ?? {}),
            text: `${ratioText(ratio)} the unguarded ${unit === 'ns' ? 'time' : 'instructions'}: ${describeCost(cost)}`,
          })),
      })),
    },
  }));
}

/** Marks of series, in order: the first as an unguarded call, the others as functions written by hand. */
const MARK_LOOKS = [
  { look: 'none', sign: '●' },
  { look: 'by hand', sign: '▶' },
] as const satisfies readonly { readonly look: LookName; readonly sign: string }[];

/** Rows of costs; a panel for each size where a series has marks of its own, which stand on each. */
function rows(experiment: ExperimentContext, cells: readonly Cost[], lane: Lane): readonly Panel[] {
  const unit = cells[0]?.unit ?? 'ns';
  const [seriesName] = namesWith(experiment, 'series');
  const marks = seriesName === undefined ? undefined : experiment.parameters[seriesName]?.marks;
  const values = Object.keys(marks ?? {});
  const markOf = (cost: Cost): number => values.indexOf(String(cost.varied[seriesName ?? '']));
  const [sizeName] = namesWith(experiment, 'size');
  const sizes =
    marks === undefined || sizeName === undefined
      ? [undefined]
      : [...new Set(cells.flatMap(({ varied }) => varied[sizeName] ?? []))].sort((a, b) => Number(a) - Number(b));
  const hidden = marks === undefined ? [] : [sizeName ?? '', seriesName ?? ''];
  const label = (cost: Cost): string => variantOf(cost, hidden) || cost.mechanism;
  const labels = [...new Set(cells.map(label))];
  if (labels.length > MOST_ROWS) return [];
  const signs = Object.values(marks ?? {})
    .map((words, at) => `${MARK_LOOKS[at]?.sign ?? ''} ${words}`)
    .join(', ');
  return sizes.map((size): Panel => {
    const isShown = (cost: Cost): boolean =>
      size === undefined || markOf(cost) >= 0 || (cost.varied[sizeName ?? ''] === size && cost.mechanism !== 'none');
    const shown = cells.filter(isShown);
    const about = size === undefined ? '' : `mage of ${formatBytes(Number(size))}`;
    return {
      lane,
      title: about === '' ? unitTitle(unit) : `I${about}: ${signs}`,
      note: laneNote(lane),
      chart: {
        kind: 'dots',
        name: `${experiment.title}${about === '' ? '' : `, i${about}`}, ${lane} lane`,
        x: costAxis(cells, unit),
        rows: labels.map((words) => ({
          label: words,
          dots: shown
            .filter((cost) => label(cost) === words)
            .map((cost): Dot => ({
              look: MARK_LOOKS[markOf(cost)]?.look ?? cost.mechanism,
              x: cost.value,
              text: describeCost(cost),
              ...intervalOf(cost),
            })),
        })),
      },
    };
  });
}

/** The panels of an experiment in one lane. */
export function experimentPanels(
  experiment: ExperimentContext,
  cells: readonly Cost[],
  lane: Lane,
  known: ReadonlyMap<Cost, Ratio>,
): readonly Panel[] {
  const here = cells.filter((cost) => cost.lane === lane && cost.value > 0 && isWhole(cost));
  if (here.length === 0) return [];
  const wanted =
    experiment.shows === 'lines'
      ? lines(experiment, here, lane)
      : experiment.shows === 'ratios'
        ? ratios(experiment, here, lane, known)
        : [];
  return wanted.length > 0 ? wanted : rows(experiment, here, lane);
}
