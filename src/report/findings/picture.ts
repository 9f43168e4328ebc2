/**
 * The main picture: what protecting the image costs for one callout, against the image's size, every mechanism. Times
 * and counted instructions have a panel each; what published latencies say of keys has a third, drawn apart.
 */
import { type Mechanism, MECHANISMS } from '../../record/words.js';
import type { Basis } from './basis.js';
import { type Axis, costAxis, logAxis, type Panel, seriesOver, sizeAxis } from './charts.js';
import { type Cost, sizeOf } from './costs.js';
import { formatBytes } from './format.js';
import { type KeyModel, modelText } from './key-model.js';
import { inOrder } from './records.js';
import { left, MISSING, right, type Table, words } from './table.js';
import { describeCost } from './variation.js';

export const PICTURE_TITLE = 'Cost of protecting the image for one callout, by image size';

/** What is in the picture. No panels where the run has no costs at more than one size. */
export interface Picture {
  readonly title: string;
  /** What one operation is. */
  readonly what: string;
  readonly panels: readonly Panel[];
  readonly mechanisms: readonly Mechanism[];
  readonly tables: readonly Table[];
}

/** The numbers of a panel: mechanisms by sizes. */
function panelTable({ lane, cells = [], note }: Panel): Table {
  const sizes = [...new Set(cells.map((cost) => sizeOf(cost) ?? 0))].sort((a, b) => a - b);
  const mechanisms = inOrder(
    MECHANISMS,
    cells.map(({ mechanism }) => mechanism),
  );
  return {
    id: `picture-${lane}`,
    title: `${PICTURE_TITLE}, ${lane} lane`,
    columns: [left('mechanism'), ...sizes.map((size) => right(formatBytes(size)))],
    rows: mechanisms.map((mechanism) => ({
      cells: [
        words(mechanism),
        ...sizes.map((size) => {
          const cost = cells.find((candidate) => candidate.mechanism === mechanism && sizeOf(candidate) === size);
          return cost === undefined
            ? MISSING
            : ({ kind: 'figure', value: cost.value, unit: cost.unit, detail: describeCost(cost) } as const);
        }),
      ],
    })),
    notes: [note],
    lane,
    folded: true,
  };
}

function modelPanel(model: KeyModel, native: readonly Cost[], sizes: readonly number[]): Panel {
  const x = sizeAxis(sizes);
  const text = `pkeys, model: ${modelText(model)}, whatever the image's size`;
  return {
    lane: 'model',
    title: 'Keys, as a model',
    note: `not measured: ${modelText(model)}`,
    narrow: true,
    chart: {
      kind: 'lines',
      name: `Model, not measured. ${text}`,
      x: { ...x, ticks: [Math.min(...sizes), Math.max(...sizes)] },
      y: timeAxis(native, model),
      series: [],
      bands: [
        {
          label: 'pkeys, model',
          look: 'pkeys-model',
          text,
          points: x.domain.map((size) => ({ x: size, low: model.leastNs, high: model.mostNs })),
        },
      ],
    },
  };
}

/** The model shares the axis of measured times, so that heights can be compared. */
function timeAxis(native: readonly Cost[], model: KeyModel | null): Axis {
  return logAxis(
    [...native.map(({ value }) => value), ...(model === null ? [] : [model.leastNs, model.mostNs])],
    'time, log',
    'ns',
  );
}

/** Makes the picture's panels. */
export function pictureOf({ headline, model }: Basis): Picture {
  const { experiment, cells } = headline;
  const sizes = cells.map((cost) => sizeOf(cost) ?? 0);
  const empty = {
    title: PICTURE_TITLE,
    what: experiment?.headline?.picture ?? '',
    panels: [],
    mechanisms: [],
    tables: [],
  };
  if (new Set(sizes).size < 2) return empty;
  const x = sizeAxis(sizes);
  const native = cells.filter(({ lane }) => lane === 'native');
  const emulated = cells.filter(({ lane }) => lane === 'emulated');
  const hasKeys = native.some(({ mechanism }) => mechanism === 'pkeys');
  const measured: readonly Panel[] = [
    ...(native.length === 0
      ? []
      : [
          {
            lane: 'native',
            title: 'Time',
            note: `native lane: measured on this CPU${hasKeys ? '' : ', which has no keys'}`,
            cells: native,
            chart: {
              kind: 'lines',
              name: `${PICTURE_TITLE}. Time on this CPU, native lane.`,
              x,
              y: timeAxis(native, model),
              series: seriesOver(native),
            },
          } as const,
        ]),
    ...(emulated.length === 0
      ? []
      : [
          {
            lane: 'emulated',
            title: 'Executed instructions',
            note: 'emulated lane: counted under an emulated CPU with keys; not a time',
            cells: emulated,
            chart: {
              kind: 'lines',
              name: `${PICTURE_TITLE}. Executed instructions, emulated lane.`,
              x,
              y: costAxis(emulated, 'instructions'),
              series: seriesOver(emulated),
            },
          } as const,
        ]),
  ];
  return {
    ...empty,
    panels: [...measured, ...(model === null || native.length === 0 ? [] : [modelPanel(model, native, sizes)])],
    mechanisms: inOrder(
      MECHANISMS,
      [...native, ...emulated].map(({ mechanism }) => mechanism),
    ),
    tables: measured.map(panelTable),
  };
}
