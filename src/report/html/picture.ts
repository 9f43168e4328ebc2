/**
 * The main picture: what protecting the image costs for one callout, against the image's size, every mechanism. Times
 * and counted instructions have a picture each; what published latencies say of keys has a third, drawn apart. Pure
 * functions of a run.
 */
import type { Run } from '../../record/records.js';
import type { Lane } from '../../record/words.js';
import { formatBytes, formatNs } from '../format.js';
import { type Axis, lineChart, logAxis, type Series } from './charts.js';
import {
  type Cost,
  costs,
  describeCost,
  type KeyModel,
  keyModel,
  plainest,
  protectingExperiment,
  sizeOf,
} from './figures.js';
import type { Markup } from './markup.js';
import { paletteCss } from './style.js';
import { MECHANISM_LOOKS, WRPKRU_CYCLES } from './words.js';

/** One of the pictures, labelled with its lane. */
export interface Panel {
  readonly lane: Lane;
  readonly title: string;
  readonly note: string;
  readonly svg: Markup;
  /** The cells drawn; none for the model. */
  readonly cells: readonly Cost[];
}

/** What is in the picture. Empty where the run has no costs by size. */
export interface Picture {
  readonly title: string;
  /** What one operation is. */
  readonly what: string;
  readonly panels: readonly Panel[];
}

/** Instructions with SI steps, for axes. */
export function formatInstructions(count: number): string {
  if (count >= 1e9) return `${count / 1e9} G`;
  if (count >= 1e6) return `${count / 1e6} M`;
  return count >= 1e3 ? `${count / 1e3} k` : String(count);
}

/** Times for axes: no needless digits. */
export function formatTickNs(ns: number): string {
  return formatNs(ns).replace(/\.?0+(?= )/, (zeros, at: number, all: string) =>
    all.slice(0, at + zeros.length).includes('.') ? '' : zeros,
  );
}

const WIDTH = { wide: 222, narrow: 110 } as const;
const HEIGHT = 230;

/** The axis of image sizes: powers of sixteen from the smallest on. */
export function sizeAxis(sizes: readonly number[]): Axis {
  const low = Math.min(...sizes);
  const high = Math.max(...sizes, low * 2);
  const exact = [...new Set(sizes)].sort((a, b) => a - b);
  const ticks: number[] = [];
  if (exact.length <= 4) ticks.push(...exact);
  else for (let size = low; size <= high; size *= 16) ticks.push(size);
  // Room at either end, so that no mark lies on the axis.
  const room = (high / low) ** 0.03;
  return { title: 'image size', domain: [low / room, high * room], ticks, format: formatBytes };
}

/** Cells by mechanism as lines over a size. */
export function seriesBySize(cells: readonly Cost[]): readonly Series[] {
  const mechanisms = [...new Set(cells.map((cost) => cost.mechanism))];
  return mechanisms
    .map((mechanism) => ({
      name: mechanism,
      label: mechanism,
      look: MECHANISM_LOOKS[mechanism],
      points: cells
        .filter((cost) => cost.mechanism === mechanism && cost.value > 0)
        .map((cost) => ({
          x: sizeOf(cost) ?? 0,
          y: cost.value,
          text: describeCost(cost),
          ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }),
        }))
        .sort((a, b) => a.x - b.x),
    }))
    .filter(({ points }) => points.length > 0);
}

/** The model's times. */
export function rangeText(model: KeyModel): string {
  return `${Math.round(model.leastNs)} to ${Math.round(model.mostNs)} ns`;
}

/** The model in words. */
export function modelText(model: KeyModel): string {
  return (
    `two WRPKRU at ${WRPKRU_CYCLES.least} to ${WRPKRU_CYCLES.most} cycles each, ` +
    `${model.assumed ? 'assuming ' : ''}${model.ghz} GHz: ${rangeText(model)}`
  );
}

/** What the picture draws: one experiment's cells by size. */
function drawn(run: Run): { readonly experiment: string | undefined; readonly cells: readonly Cost[] } {
  const all = costs(run);
  const experiment = protectingExperiment(all);
  return {
    experiment,
    cells: plainest(all.filter((cost) => cost.experiment === experiment && sizeOf(cost) !== undefined)),
  };
}

/** Whether a run has costs at more than one image size. */
export function hasPicture(run: Run): boolean {
  return new Set(drawn(run).cells.map(sizeOf)).size > 1;
}

export const PICTURE_TITLE = 'Cost of protecting the image for one callout, by image size';

/** Makes the picture's panels. */
export async function mainPicture(run: Run): Promise<Picture> {
  const { experiment, cells } = drawn(run);
  const what =
    experiment === 'flip'
      ? 'one pair of closing and opening the whole image'
      : 'one guarded callout of an empty C function: close the image, call, open it';
  const title = PICTURE_TITLE;
  const sizes = cells.map((cost) => sizeOf(cost) ?? 0);
  if (!hasPicture(run)) return { title, what, panels: [] };
  const x = sizeAxis(sizes);
  const panels: Panel[] = [];
  const native = cells.filter((cost) => cost.lane === 'native');
  const model = keyModel(run);
  const nsValues = [
    ...native.map((cost) => cost.value),
    ...(model === null || native.length === 0 ? [] : [model.leastNs, model.mostNs]),
  ];
  const y = logAxis(nsValues, 'time, log', formatTickNs);
  if (native.length > 0) {
    const keys = native.some((cost) => cost.mechanism === 'pkeys');
    panels.push({
      lane: 'native',
      title: 'Time',
      cells: native,
      note: `native lane: measured on this CPU${keys ? '' : ', which has no keys'}`,
      svg: await lineChart({
        name: `${title}. Time on this CPU, native lane.`,
        width: WIDTH.wide,
        height: HEIGHT,
        x,
        y,
        series: seriesBySize(native),
      }),
    });
  }
  const emulated = cells.filter((cost) => cost.lane === 'emulated');
  if (emulated.length > 0) {
    panels.push({
      lane: 'emulated',
      title: 'Executed instructions',
      cells: emulated,
      note: 'emulated lane: counted under an emulated CPU with keys; not a time',
      svg: await lineChart({
        name: `${title}. Executed instructions, emulated lane.`,
        width: WIDTH.wide,
        height: HEIGHT,
        x,
        y: logAxis(
          emulated.map((cost) => cost.value),
          'instructions, log',
          formatInstructions,
        ),
        series: seriesBySize(emulated),
      }),
    });
  }
  if (model !== null && native.length > 0) {
    const text = `pkeys, model: ${modelText(model)}, whatever the image's size`;
    panels.push({
      lane: 'model',
      title: 'Keys, as a model',
      cells: [],
      note: `not measured: ${modelText(model)}`,
      svg: await lineChart({
        name: `Model, not measured. ${text}`,
        width: WIDTH.narrow,
        height: HEIGHT,
        x: { ...x, ticks: [Math.min(...sizes), Math.max(...sizes)] },
        y,
        series: [],
        bands: [
          {
            label: 'pkeys, model',
            look: MECHANISM_LOOKS['pkeys-model'],
            text,
            points: x.domain.map((size) => ({ x: size, low: model.leastNs, high: model.mostNs })),
          },
        ],
      }),
    });
  }
  return { title, what, panels };
}

/**
 * The picture as a file of its own, for a README: the panels side by side, colours by the reader's scheme. Null where
 * the run has no costs by size.
 */
export async function renderPicture(run: Run): Promise<string | null> {
  const picture = await mainPicture(run);
  if (picture.panels.length === 0) return null;
  const gap = 34;
  const top = 76;
  let x = 20;
  let most = 0;
  const groups = picture.panels.map((panel) => {
    const [, width = '0', height = '0'] = / width="([\d.]+)" height="([\d.]+)"/.exec(panel.svg.text) ?? [];
    const at = x;
    x += Number(width) + gap;
    most = Math.max(most, Number(height));
    const inner = panel.svg.text
      .replace('<svg ', `<svg x="${at}" y="${top + 26}" `)
      .replace(/ (?:tabindex|class|style)="[^"]*"/g, '');
    const lane =
      panel.lane === 'model'
        ? 'not measured: published latencies'
        : panel.lane === 'native'
          ? 'native: measured on this CPU'
          : 'emulated: counted, not time';
    return (
      `<text x="${at}" y="${top}" class="panel">${panel.title}</text><text x="${at}" y="${top + 17}" ` +
      `class="note">${lane}</text>${inner}`
    );
  });
  const width = Math.ceil(x - gap + 20);
  const height = Math.ceil(top + 26 + most + 16);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, 'Segoe UI', 'Liberation Sans', sans-serif" role="img" aria-label="${picture.title}">
<style>${paletteCss(':root')}
svg{background:var(--bg)} .head{font-size:19px;font-weight:650;fill:var(--ink)} .panel{font-size:14px;font-weight:650;fill:var(--ink)} .note{font-size:12px;fill:var(--muted)}</style>
<rect width="100%" height="100%" fill="var(--bg)"/>
<text x="20" y="34" class="head">${picture.title}</text>
${groups.join('\n')}
</svg>
`;
}
