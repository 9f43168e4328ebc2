/** Small statistics over samples. Pure. */
import { median as middle } from 'simple-statistics';

/** The median. NaN where there are no samples. */
export function median(samples: readonly number[]): number {
  return samples.length === 0 ? Number.NaN : middle([...samples]);
}

/**
 * The ratios of samples taken in the same rounds: `samples[k] / baseline[k]`. What slows a whole round down falls out
 * of them. Of two rows that were measured together; a round in which the baseline is not positive is left out. Where
 * one has more samples, its surplus has no pair.
 */
export function pairedRatios(samples: readonly number[], baseline: readonly number[]): readonly number[] {
  return samples.slice(0, baseline.length).flatMap((sample, round) => {
    const base = baseline[round] ?? 0;
    return base > 0 ? [sample / base] : [];
  });
}
