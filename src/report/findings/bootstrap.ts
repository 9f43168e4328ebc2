/**
 * Bootstrap intervals of medians, deterministic: the same samples give the same interval, so that a report stays a pure
 * function of its run. Percentile method (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
 */
import { quantileSorted } from 'simple-statistics';

import { randomFrom } from '../../record/random.js';

/** 95 % unless said otherwise. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

function middle(sorted: Float64Array): number {
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

/** Medians of resamples with replacement. */
function resampledMedians(samples: readonly number[], resamples: number, random: () => number): Float64Array {
  const medians = new Float64Array(resamples);
  const drawn = new Float64Array(samples.length);
  for (let round = 0; round < resamples; round++) {
    for (let at = 0; at < drawn.length; at++) drawn[at] = samples[Math.floor(random() * samples.length)] ?? Number.NaN;
    medians[round] = middle(drawn.sort());
  }
  return medians;
}

function percentile(values: Float64Array, level: number): Interval {
  const sorted = [...values.sort()];
  return { low: quantileSorted(sorted, (1 - level) / 2), high: quantileSorted(sorted, (1 + level) / 2) };
}

/** The interval of a median. At least one sample. */
export function bootstrapMedian(samples: readonly number[], resamples = 500, level = 0.95): Interval {
  return percentile(resampledMedians(samples, resamples, randomFrom(samples.length)), level);
}

/** The interval of median(b) / median(a), resampled independently: the two were not measured in the same rounds. */
export function bootstrapRatio(a: readonly number[], b: readonly number[], resamples = 2000, level = 0.95): Interval {
  const below = resampledMedians(a, resamples, randomFrom(1));
  const above = resampledMedians(b, resamples, randomFrom(2));
  return percentile(
    above.map((value, at) => value / (below[at] ?? Number.NaN)),
    level,
  );
}

/**
 * The ratio of b to a by rounds: the median of the ratios of samples taken in the same round, and its interval. As many
 * samples on either side.
 */
export function pairedRatio(
  a: readonly number[],
  b: readonly number[],
  resamples = 500,
  level = 0.95,
): { readonly ratio: number; readonly interval: Interval } {
  const ratios = b.map((value, at) => value / (a[at] ?? Number.NaN));
  return {
    ratio: middle(Float64Array.from(ratios).sort()),
    interval: percentile(resampledMedians(ratios, resamples, randomFrom(ratios.length)), level),
  };
}
