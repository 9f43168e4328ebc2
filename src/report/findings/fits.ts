/** Straight lines through costs by image size. Pure functions of cells. */
import { linearRegression, linearRegressionLine, rSquared } from 'simple-statistics';

import { type Cost, sizeOf } from './costs.js';
import { variantOf } from './variation.js';

/** A straight line through costs by pages of 4 KiB: what there is without any, what each adds. */
export interface Fit {
  readonly first: Cost;
  readonly variant: string;
  readonly intercept: number;
  readonly perPage: number;
  /** Undefined where all values are the same. */
  readonly rSquared: number | undefined;
}

const PAGE_BYTES = 4096;
/** Fewer sizes make no line. */
const LEAST_SIZES = 4;

/** Fits one experiment's cells by least squares, weighted by nothing. */
export function fitsOf(cells: readonly Cost[]): readonly Fit[] {
  const groups = new Map<string, Cost[]>();
  for (const cost of cells) {
    if (sizeOf(cost) === undefined) continue;
    const key = JSON.stringify([cost.lane, cost.mechanism, variantOf(cost)]);
    groups.set(key, [...(groups.get(key) ?? []), cost]);
  }
  return [...groups.values()].flatMap((group): readonly Fit[] => {
    const [first] = group;
    if (first === undefined || new Set(group.map(sizeOf)).size < LEAST_SIZES) return [];
    const points = group.map((cost): [number, number] => [(sizeOf(cost) ?? 0) / PAGE_BYTES, cost.value]);
    const { m, b } = linearRegression(points);
    const constant = new Set(points.map(([, y]) => y)).size === 1;
    return [
      {
        first,
        variant: variantOf(first),
        intercept: b,
        perPage: m,
        rSquared: constant ? undefined : rSquared(points, linearRegressionLine({ m, b })),
      },
    ];
  });
}
