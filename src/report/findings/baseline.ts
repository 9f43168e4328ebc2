/** What a cost is set beside: the same thing unguarded. Pure functions of cells. */
import { bootstrapRatio, type Interval, pairedRatio } from './bootstrap.js';
import { type Cost, LEAST_SAMPLES, sizeOf } from './costs.js';

/** A cost set beside that of the same thing unguarded. */
export interface Ratio {
  readonly ratio: number;
  /** Null for counts: their spread is the timer's interrupts, not chance. */
  readonly interval: Interval | null;
  /** Sample by sample of the same rounds; else as two sets. */
  readonly paired: boolean;
  readonly baseline: Cost;
}

/** Whether an unguarded row is the thing itself, not another way of doing it. */
function isPlain({ varied, experiment: { parameters } }: Cost): boolean {
  return Object.entries(parameters).every(
    ([name, { baseline }]) => baseline === undefined || varied[name] === undefined || varied[name] === baseline,
  );
}

/**
 * The unguarded row that a cost is set beside, instructions beside instructions only; undefined where there is none,
 * and for that row itself.
 */
function baselineOf(cost: Cost, all: readonly Cost[]): Cost | undefined {
  const { experiment, mechanism, unit, varied } = cost;
  if (mechanism === 'none' && isPlain(cost)) return undefined;
  if (unit !== 'ns' && experiment.wholeWork !== true) return undefined;
  const lane = unit === 'ns' ? 'native' : cost.lane;
  const isFree = (name: string): boolean => {
    const parameter = experiment.parameters[name];
    return parameter?.role === 'size' || parameter?.free === true;
  };
  const fits = all.filter(
    (candidate) =>
      candidate.experiment.name === experiment.name &&
      candidate.mechanism === 'none' &&
      candidate.lane === lane &&
      candidate.unit === unit &&
      isPlain(candidate) &&
      Object.entries(candidate.varied).every(([name, value]) => isFree(name) || varied[name] === value),
  );
  return fits.find((candidate) => sizeOf(candidate) === sizeOf(cost)) ?? fits[0];
}

function ratioTo(cost: Cost, baseline: Cost): Ratio | null {
  if (baseline.value <= 0) return null;
  const unpaired = cost.value / baseline.value;
  if (cost.unit === 'instructions') return { ratio: unpaired, interval: null, paired: false, baseline };
  if (cost.samples.length < LEAST_SAMPLES || baseline.samples.length < LEAST_SAMPLES) return null;
  const paired =
    baseline.group === cost.group &&
    baseline.samples.length === cost.samples.length &&
    baseline.samples.every((sample) => sample > 0);
  return paired
    ? { ...pairedRatio(baseline.samples, cost.samples), paired, baseline }
    : { ratio: unpaired, interval: bootstrapRatio(baseline.samples, cost.samples, 500), paired, baseline };
}

/** A cost over its baseline; null where there is none, or, of times, too few samples for an interval. */
export function ratioOf(cost: Cost, all: readonly Cost[]): Ratio | null {
  const baseline = baselineOf(cost, all);
  return baseline === undefined ? null : ratioTo(cost, baseline);
}

/** The ratios of all cells that have one. */
export function ratiosOf(all: readonly Cost[]): ReadonlyMap<Cost, Ratio> {
  return new Map(
    all.flatMap((cost): readonly (readonly [Cost, Ratio])[] => {
      const ratio = ratioOf(cost, all);
      return ratio === null ? [] : [[cost, ratio]];
    }),
  );
}
