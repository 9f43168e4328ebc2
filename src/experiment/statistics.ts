/** Small statistics over samples. Pure. */
import { median as middle } from 'simple-statistics';

/** The median. NaN where there are no samples. */
export function median(samples: readonly number[]): number {
  return samples.length === 0 ? Number.NaN : middle([...samples]);
}
