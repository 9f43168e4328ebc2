/** How samples lie around their median: the median absolute deviation, and which of them are outliers. Pure. */
import { median, medianAbsoluteDeviation } from 'simple-statistics';

/** A sample that lies far off. */
export interface Outlier {
  /** Its number among the samples, from 0. */
  readonly sample: number;
  readonly value: number;
}

export interface Spread {
  /** Median absolute deviation, in the samples' unit. */
  readonly mad: number;
  readonly outliers: readonly Outlier[];
}

/** A modified z-score beyond this makes an outlier (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993). */
export const OUTLIER_SCORE = 3.5;
/** The deviation of a normal distribution in units of its MAD, inverted. */
const NORMAL = 0.6745;

/** At least one sample. Outliers are named, never taken out: the median does not feel them. */
export function spreadOf(samples: readonly number[]): Spread {
  const middle = median([...samples]);
  const mad = medianAbsoluteDeviation([...samples]);
  const outliers =
    mad === 0
      ? []
      : samples.flatMap((value, sample): Outlier[] =>
          (NORMAL * Math.abs(value - middle)) / mad > OUTLIER_SCORE ? [{ sample, value }] : [],
        );
  return { mad, outliers };
}
