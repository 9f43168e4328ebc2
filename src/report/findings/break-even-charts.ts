/** Callouts a second against overhead and image size. Native times only, and the model apart. */
import { MECHANISMS } from '../../record/words.js';
import { type Added, rateAt } from './break-even.js';
import { type Axis, type LineChart, logAxis, type Panel, type Series, sizeAxis } from './charts.js';
import { formatBytes, formatNs, formatRate } from './format.js';
import { type KeyModel, modelText } from './key-model.js';
import { inOrder } from './records.js';
import { LANE_MEANINGS } from './words.js';

/** An image of this size is drawn, or the one nearest to it, and the largest. */
const USUAL_BYTES = 4 << 20;
/** Callouts a second that are drawn. */
const RATES = { least: 10, most: 1e7 } as const;

const RATE_AXIS: Axis = {
  title: 'callouts a second',
  domain: [RATES.least, RATES.most],
  ticks: [10, 1000, 1e5, 1e7],
  unit: 'rate',
};
const SHARE_AXIS: Axis = {
  title: 'overhead, % of a processor',
  domain: [0.001, 100],
  ticks: [0.001, 0.01, 0.1, 1, 10, 100],
  unit: 'percent',
};
const RULES = [{ y: 1, label: '1 %' }];
const NOTE = `native lane: ${LANE_MEANINGS.native}`;

const percentAt = (rate: number, ns: number): number => (rate * ns) / 1e7;

/** The ends of a line inside of the plane. */
function line(ns: number): readonly { readonly x: number; readonly y: number }[] {
  const [lowest, highest] = SHARE_AXIS.domain;
  const ends = [Math.max(RATES.least, rateAt(ns, lowest)), Math.min(RATES.most, rateAt(ns, highest))] as const;
  return ends[0] < ends[1] ? ends.map((rate) => ({ x: rate, y: percentAt(rate, ns) })) : [];
}

function sizePanel(added: readonly Added[], size: number): Panel {
  const series = added
    .filter(({ sizeBytes }) => sizeBytes === size)
    .map(({ cost: { mechanism }, ns }): Series => ({
      label: mechanism,
      look: mechanism,
      points: line(ns).map((point) => ({
        ...point,
        text:
          `${mechanism}, image ${formatBytes(size)}: ${formatNs(ns)} a callout; 1 % at ${formatRate(rateAt(ns))} ` +
          'callouts a second',
      })),
    }))
    .filter(({ points }) => points.length > 0);
  return {
    lane: 'native',
    title: `Image of ${formatBytes(size)}`,
    note: NOTE,
    chart: {
      kind: 'lines',
      name: `Overhead by callouts a second, image of ${formatBytes(size)}, native lane`,
      x: RATE_AXIS,
      y: SHARE_AXIS,
      rules: RULES,
      series,
    },
  };
}

function modelPanel(
  model: KeyModel,
  title: string,
  chart: Pick<LineChart, 'x' | 'y' | 'rules'>,
  points: Points,
): Panel {
  const words =
    `pkeys, model: ${modelText(model)}; 1 % at ${formatRate(rateAt(model.mostNs))} to ` +
    `${formatRate(rateAt(model.leastNs))} callouts a second`;
  return {
    lane: 'model',
    title,
    note: `not measured: ${modelText(model)}`,
    narrow: true,
    chart: {
      kind: 'lines',
      name: `Model, not measured. ${title}. ${words}`,
      ...chart,
      series: [],
      bands: [{ label: 'pkeys, model', look: 'pkeys-model', text: words, points }],
    },
  };
}

type Points = readonly { readonly x: number; readonly low: number; readonly high: number }[];

/** Overhead by rate: for a usual image and the largest, and for keys by the model. */
export function overheadPanels(added: readonly Added[], model: KeyModel | null): readonly Panel[] {
  const sizes = [...new Set(added.map(({ sizeBytes }) => sizeBytes))].sort((a, b) => a - b);
  const distance = (size: number): number => Math.abs(Math.log(size / USUAL_BYTES));
  const [usual] = [...sizes].sort((a, b) => distance(a) - distance(b));
  const shown = sizes.filter((size) => size === usual || size === sizes.at(-1));
  const rates = Array.from({ length: 25 }, (_, at) => 10 ** (1 + at / 4));
  return [
    ...shown.map((size) => sizePanel(added, size)),
    ...(model === null
      ? []
      : [
          modelPanel(
            model,
            'Keys, any image size: a model',
            { x: RATE_AXIS, y: SHARE_AXIS, rules: RULES },
            rates.map((rate) => ({
              x: rate,
              low: percentAt(rate, model.leastNs),
              high: percentAt(rate, model.mostNs),
            })),
          ),
        ]),
  ];
}

/** Callouts a second that cost 1 %, by image size. */
export function affordablePanels(added: readonly Added[], model: KeyModel | null): readonly Panel[] {
  const sizes = [...new Set(added.map(({ sizeBytes }) => sizeBytes))].sort((a, b) => a - b);
  if (sizes.length < 2) return [];
  const rates = [...added.map(({ ns }) => ns), ...(model === null ? [] : [model.mostNs, model.leastNs])];
  const y = logAxis(
    rates.map((ns) => rateAt(ns)),
    'callouts a second at 1 %, log',
    'rate',
  );
  const x = sizeAxis(sizes);
  const mechanisms = inOrder(
    MECHANISMS,
    added.map(({ cost }) => cost.mechanism),
  );
  const series = mechanisms.map((mechanism): Series => ({
    label: mechanism,
    look: mechanism,
    points: added
      .filter(({ cost }) => cost.mechanism === mechanism)
      .map(({ sizeBytes, ns }) => ({
        x: sizeBytes,
        y: rateAt(ns),
        text:
          `${mechanism}, image ${formatBytes(sizeBytes)}: ${formatRate(rateAt(ns))} callouts a second cost 1 % ` +
          `(${formatNs(ns)} each)`,
      }))
      .sort((a, b) => a.x - b.x),
  }));
  return [
    {
      lane: 'native',
      title: 'Callouts a second for 1 % overhead',
      note: NOTE,
      chart: { kind: 'lines', name: 'Callouts a second that cost 1 %, by image size, native lane', x, y, series },
    },
    ...(model === null
      ? []
      : [
          modelPanel(
            model,
            'The same for keys: a model',
            { x: { ...x, ticks: [Math.min(...sizes), Math.max(...sizes)] }, y },
            x.domain.map((size) => ({ x: size, low: rateAt(model.mostNs), high: rateAt(model.leastNs) })),
          ),
        ]),
  ];
}
