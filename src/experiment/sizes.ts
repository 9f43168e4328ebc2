/** Image sizes that cost experiments share. Pure. */
import type { CostSetting } from './case.js';

const KIB = 1024;

/** Sizes in bytes, small first. */
export function imageSizes({ quick }: Pick<CostSetting, 'quick'>): readonly number[] {
  return quick ? [64 * KIB, 4096 * KIB] : [64 * KIB, 4096 * KIB, 65536 * KIB];
}
