/**
 * What makes a measured row less than it could be: one sentence each, with what to do about it. Pure. Records carry the
 * sentences, so that a report repeats them without knowing why.
 */
import { medianAbsoluteDeviation } from 'simple-statistics';

import { median } from './statistics.js';

/** What is known of how a row was timed. */
export interface TimingFacts {
  /** ns (or instructions) of one operation, one entry per batch. */
  readonly samples: readonly number[];
  /** Operations between two readings of the clock. */
  readonly timedOperations: number;
  /** Between two readings of the clock with nothing in between. */
  readonly clockOverheadNs: number;
  readonly settled: boolean;
  readonly pinned: boolean;
  /** Share of the machine's time that its hypervisor gave to others meanwhile, 0 to 1. */
  readonly steal: number;
  /** The core's frequency before and after the row's rounds, in GHz. */
  readonly ghz: readonly number[];
  /** Times that the process was put aside for another during its batches. */
  readonly switches: number;
}

export const WARNING_LIMITS = {
  deviation: 0.05,
  batchOverheads: 50,
  steal: 0.01,
  frequency: 0.03,
  leastSamples: 5,
} as const;

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

/** The warnings of a timed row. */
export function timingWarnings(facts: TimingFacts): readonly string[] {
  const { samples, timedOperations, clockOverheadNs, settled, pinned, steal, ghz, switches } = facts;
  const middle = median(samples);
  const deviation = middle > 0 ? medianAbsoluteDeviation([...samples]) / middle : 0;
  const [before = 0, after = 0] = ghz;
  const warnings: string[] = [];
  if (samples.length < WARNING_LIMITS.leastSamples)
    warnings.push(`only ${samples.length} samples: one operation takes long; measure a smaller image for an interval`);
  if (deviation > WARNING_LIMITS.deviation)
    warnings.push(
      `noisy: the median absolute deviation is over ${percent(WARNING_LIMITS.deviation)} of the median; let ` +
        'nothing else run and try again',
    );
  if (middle * timedOperations < WARNING_LIMITS.batchOverheads * clockOverheadNs)
    warnings.push(
      `the clock is coarse for this: reading it takes over ${percent(1 / WARNING_LIMITS.batchOverheads)} of ` +
        'what is timed at once; that is taken off, but compare only with rows timed alike',
    );
  if (steal > WARNING_LIMITS.steal)
    warnings.push(
      `steal time: over ${percent(WARNING_LIMITS.steal)} of this virtual machine's time went to others ` +
        'meanwhile; use a dedicated or bare-metal machine',
    );
  if (before > 0 && Math.abs(after / before - 1) > WARNING_LIMITS.frequency)
    warnings.push(
      `the core's frequency changed by over ${percent(WARNING_LIMITS.frequency)} meanwhile; fix it (cpupower ` +
        'frequency-set -g performance, boost off)',
    );
  if (switches > samples.length / 4)
    warnings.push('put aside for other processes in one batch of four, or more; let nothing else run and try again');
  if (!settled) warnings.push('batches were still getting faster when warm-up ended; measure longer');
  if (!pinned) warnings.push('the process could not be pinned to one processor; allow sched_setaffinity');
  return warnings;
}

/**
 * The warnings of a row that JavaScript timed: of all facts, the samples alone are known, and whether warm-up had
 * settled.
 */
export function sampleWarnings(samples: readonly number[], settled = true): readonly string[] {
  return timingWarnings({
    samples,
    timedOperations: 1,
    clockOverheadNs: 0,
    settled,
    pinned: true,
    steal: 0,
    ghz: [],
    switches: 0,
  });
}
