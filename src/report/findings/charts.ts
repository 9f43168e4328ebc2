/**
 * Charts as values: what is drawn against what, each mark with its numbers in a sentence. How a chart looks is the
 * renderer's business. Pure.
 */
import type { Lane, Mechanism } from '../../record/words.js';
import { type Cost, sizeOf } from './costs.js';
import type { Unit } from './format.js';
import type { Text } from './text.js';
import { describeCost } from './variation.js';

export interface Axis {
  readonly title: string;
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
  /** How ticks are written. */
  readonly unit: Unit;
}

/** A series' or a mark's look: that of a mechanism, or of a function written by hand, which is none. */
export type LookName = Mechanism | 'by hand';

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
  /** The mark's accessible name. */
  readonly text: string;
}

export interface Series {
  /** Written beside the line's end. */
  readonly label: string;
  readonly look: LookName;
  readonly points: readonly Point[];
}

/** A band between two lines: a model. */
export interface Band {
  readonly label: string;
  readonly look: LookName;
  readonly points: readonly { readonly x: number; readonly low: number; readonly high: number }[];
  readonly text: string;
}

/** Lines over a logarithmic plane. */
export interface LineChart {
  readonly kind: 'lines';
  /** The chart's accessible name. */
  readonly name: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  readonly bands?: readonly Band[];
  /** Horizontal reference lines. */
  readonly rules?: readonly { readonly y: number; readonly label: string }[];
}

export interface Dot {
  readonly look: LookName;
  /** Number of a shape of its own, where looks alone do not tell dots apart. */
  readonly shape?: number;
  readonly x: number;
  readonly low?: number;
  readonly high?: number;
  readonly text: string;
}

/** Rows of dots on a logarithmic axis. */
export interface DotChart {
  readonly kind: 'dots';
  readonly name: string;
  readonly rows: readonly { readonly label: string; readonly dots: readonly Dot[] }[];
  readonly x: Axis;
  /** A vertical reference line. */
  readonly reference?: number;
}

/** Bars of stacked parts on a linear axis. */
export interface BarChart {
  readonly kind: 'bars';
  readonly name: string;
  readonly title: string;
  readonly unit: Unit;
  /** The parts' names, in order. */
  readonly parts: readonly string[];
  readonly rows: readonly {
    readonly label: string;
    readonly segments: readonly { readonly part: number; readonly value: number; readonly text: string }[];
  }[];
}

/** A chart under its title, in its lane. */
export interface Panel {
  readonly lane: Lane;
  readonly title: string;
  /** What the lane is, or what the model rests on. */
  readonly note: Text;
  readonly chart: LineChart | DotChart | BarChart;
  /** The cells drawn, where a table of the picture is made from them. */
  readonly cells?: readonly Cost[];
  readonly narrow?: true;
}

/** Shapes that tell series of dots apart, as signs in a title. */
export const SHAPE_SIGNS = ['●', '■', '▲'] as const;

/** Powers of ten that hold all values, with a step that leaves at most about seven ticks. */
export function logAxis(values: readonly number[], title: string, unit: Unit): Axis {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  const low = Math.floor(Math.log10(Math.min(...positive, 1e12)) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive, 1e-12)) - 1e-9));
  const step = Math.ceil((high - low + 1) / 8);
  const ticks: number[] = [];
  for (let power = low; power <= high; power += step) ticks.push(10 ** power);
  return { title, domain: [10 ** low, 10 ** high], ticks, unit };
}

/** The axis of costs of one unit. */
export function costAxis(cells: readonly Pick<Cost, 'value'>[], unit: Cost['unit']): Axis {
  return logAxis(
    cells.map(({ value }) => value),
    unit === 'ns' ? 'time, log' : 'instructions, log',
    unit,
  );
}

/** Room at either end of an axis, so that no mark lies on the other one. */
function roomy(low: number, high: number): readonly [number, number] {
  const room = (high / low) ** 0.03;
  return [low / room, high * room];
}

/** The axis of image sizes, or of others in bytes: powers of sixteen from the smallest on. */
export function sizeAxis(sizes: readonly number[], title = 'image size'): Axis {
  const low = Math.min(...sizes);
  const high = Math.max(...sizes, low * 2);
  const exact = [...new Set(sizes)].sort((a, b) => a - b);
  const ticks: number[] = [];
  if (exact.length <= 4) ticks.push(...exact);
  else for (let size = low; size <= high; size *= 16) ticks.push(size);
  return { title, domain: roomy(low, high), ticks, unit: 'bytes' };
}

/** The axis of another parameter that is varied in steps: at most about six ticks, none upon another. */
export function stepAxis(values: readonly number[], title: string): Axis {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  const step = Math.ceil(sorted.length / 6);
  const domain = roomy(sorted[0] ?? 1, sorted.at(-1) ?? 2);
  const apart = (domain[1] / domain[0]) ** (1 / 14);
  const ticks: number[] = [];
  for (const value of sorted.filter((_, at) => at % step === 0))
    if (value >= (ticks.at(-1) ?? 0) * apart) ticks.push(value);
  return { title, domain, ticks, unit: 'count' };
}

/** Ratios around and above 1. */
export function ratioAxis(ratios: readonly number[], unit: Cost['unit']): Axis {
  const low = Math.min(0.95, ...ratios) * 0.98;
  const high = Math.max(1.5, ...ratios) * 1.05;
  const all =
    high / low > 50
      ? [0.01, 0.1, 1, 10, 100, 1000, 10_000, 1e5]
      : [0.1, 0.5, 1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000, 10_000];
  return {
    title: unit === 'ns' ? 'times as long, log' : 'times as many instructions, log',
    domain: [low, high],
    ticks: all.filter((tick) => tick >= low && tick <= high),
    unit: 'times',
  };
}

/** A cost's interval, for a mark. */
export function intervalOf({ interval }: Cost): { readonly low?: number; readonly high?: number } {
  return interval === null ? {} : { low: interval.low, high: interval.high };
}

/** Cells by mechanism as lines over a parameter; the image's size where none is named. */
export function seriesOver(
  cells: readonly Cost[],
  x: (cost: Cost) => number = (cost) => sizeOf(cost) ?? 0,
): readonly Series[] {
  return [...new Set(cells.map(({ mechanism }) => mechanism))]
    .map((mechanism): Series => ({
      label: mechanism,
      look: mechanism,
      points: cells
        .filter((cost) => cost.mechanism === mechanism && cost.value > 0)
        .map((cost) => ({ x: x(cost), y: cost.value, text: describeCost(cost), ...intervalOf(cost) }))
        .sort((a, b) => a.x - b.x),
    }))
    .filter(({ points }) => points.length > 0);
}
