/**
 * Proportions with intervals. The beta and binomial distributions are jStat's. Pure.
 *
 * Wilson 1927; Clopper and Pearson 1934; McNemar 1947 in its exact form; Korn and Graubard 1998 for proportions over
 * strata. Brown, Cai, DasGupta, "Interval Estimation for a Binomial Proportion" (2001) compares the first two.
 */
import jstat from 'jstat';

const { jStat } = jstat;

/** A proportion with its interval, and how the interval was made. */
export interface Rate {
  readonly count: number;
  readonly of: number;
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  readonly method: 'wilson' | 'exact' | 'strata';
}

export const CONFIDENCE = 0.95;
/** Below this many of either kind, an interval is exact. */
const FEW = 10;

/** Bounds of the beta distribution, also for counts that are not whole. */
function betaBounds(count: number, of: number, confidence: number): readonly [number, number] {
  const tail = (1 - confidence) / 2;
  const low = count <= 0 ? 0 : jStat.beta.inv(tail, count, of - count + 1);
  const high = count >= of ? 1 : jStat.beta.inv(1 - tail, count + 1, of - count);
  return [low, high];
}

/** The exact interval of Clopper and Pearson. */
export function clopperPearson(count: number, of: number, confidence = CONFIDENCE): Rate {
  const [low, high] = of === 0 ? [0, 1] : betaBounds(count, of, confidence);
  return { count, of, estimate: of === 0 ? Number.NaN : count / of, low, high, method: 'exact' };
}

/** Wilson's score interval. */
export function wilson(count: number, of: number, confidence = CONFIDENCE): Rate {
  if (of === 0) return { count, of, estimate: Number.NaN, low: 0, high: 1, method: 'wilson' };
  const z = jStat.normal.inv(1 - (1 - confidence) / 2, 0, 1);
  const p = count / of;
  const scale = 1 + (z * z) / of;
  const middle = (p + (z * z) / (2 * of)) / scale;
  const half = (z / scale) * Math.sqrt((p * (1 - p)) / of + (z * z) / (4 * of * of));
  return {
    count,
    of,
    estimate: p,
    low: Math.max(0, middle - half),
    high: Math.min(1, middle + half),
    method: 'wilson',
  };
}

/** The interval that reports give: exact where a count is small, else Wilson's. */
export function rate(count: number, of: number, confidence = CONFIDENCE): Rate {
  return Math.min(count, of - count) < FEW ? clopperPearson(count, of, confidence) : wilson(count, of, confidence);
}

/**
 * The exact test of McNemar, two-sided: whether two mechanisms differ on the same faults.
 * @param onlyFirst faults that did harm under the first alone
 * @param onlySecond faults that did harm under the second alone
 */
export function mcnemar(onlyFirst: number, onlySecond: number): number {
  const of = onlyFirst + onlySecond;
  const less = Math.min(onlyFirst, onlySecond);
  if (of === 0 || onlyFirst === onlySecond) return 1;
  // P(X <= k) of a binomial with p = 1/2, by the incomplete beta function
  return Math.min(1, 2 * jStat.ibeta(0.5, of - less, less + 1));
}

/** Counts of one stratum, and its weight (bytes). */
export interface WeightedCount {
  readonly count: number;
  readonly of: number;
  readonly weight: number;
}

/**
 * A proportion over strata, each weighed by its size: sum of w p, with variance sum of w^2 p (1 - p) / (n - 1). Its
 * interval is exact for the sample size that has this variance (Korn and Graubard). With no count at all the variance
 * says nothing; the size is then 1 / sum of (w^2 / n).
 */
export function overStrata(strata: readonly WeightedCount[], confidence = CONFIDENCE): Rate {
  const used = strata.filter(({ of, weight }) => of > 1 && weight > 0);
  const total = used.reduce((sum, { weight }) => sum + weight, 0);
  const count = used.reduce((sum, stratum) => sum + stratum.count, 0);
  const of = used.reduce((sum, stratum) => sum + stratum.of, 0);
  if (total === 0) return { count, of, estimate: Number.NaN, low: 0, high: 1, method: 'strata' };
  let [estimate, variance, spread] = [0, 0, 0];
  for (const stratum of used) {
    const share = stratum.weight / total;
    const p = stratum.count / stratum.of;
    estimate += share * p;
    variance += (share * share * p * (1 - p)) / (stratum.of - 1);
    spread += (share * share) / stratum.of;
  }
  const size = variance > 0 ? Math.min(of, (estimate * (1 - estimate)) / variance) : 1 / spread;
  const [low, high] = betaBounds(estimate * size, size, confidence);
  return { count, of, estimate, low, high, method: 'strata' };
}
