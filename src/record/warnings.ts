/**
 * What makes a measured row, or a whole lane, less than it could be. Warnings are data: a code, and the value that a
 * reader wants to know. The report makes sentences and remedies of them. Pure.
 */
import { medianAbsoluteDeviation } from 'simple-statistics';

import { median } from './statistics.js';

/** Shares are from 0 to 1, and say from which share on the warning is given. */
export type Warning =
  | { readonly code: 'few-samples'; readonly samples: number }
  | { readonly code: 'noisy'; readonly over: number }
  | { readonly code: 'coarse-clock'; readonly over: number }
  | { readonly code: 'steal'; readonly over: number }
  | { readonly code: 'frequency'; readonly over: number }
  | { readonly code: 'put-aside'; readonly over: number }
  | { readonly code: 'unsettled' }
  | { readonly code: 'warm-up' }
  | { readonly code: 'unpinned' }
  | { readonly code: 'oversubscribed' }
  | { readonly code: 'clock-drift'; readonly drift: number }
  | { readonly code: 'no-invariant-tsc' }
  | { readonly code: 'virtualised' }
  /** An experiment's own. */
  | { readonly code: 'other'; readonly text: string; readonly remedy: string };

/** The codes, with the type of the value that each has besides. */
export const WARNING_VALUES = {
  'few-samples': { samples: 'number' },
  noisy: { over: 'number' },
  'coarse-clock': { over: 'number' },
  steal: { over: 'number' },
  frequency: { over: 'number' },
  'put-aside': { over: 'number' },
  unsettled: {},
  'warm-up': {},
  unpinned: {},
  oversubscribed: {},
  'clock-drift': { drift: 'number' },
  'no-invariant-tsc': {},
  virtualised: {},
  other: { text: 'string', remedy: 'string' },
} as const satisfies Readonly<Record<Warning['code'], Readonly<Record<string, 'number' | 'string'>>>>;

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
  /** The share of a timed batch that reading the clock takes. */
  clock: 0.02,
  steal: 0.01,
  frequency: 0.03,
  /** Batches in which the process was put aside. */
  putAside: 0.25,
  leastSamples: 5,
} as const;

/** The warnings of a timed row. */
export function timingWarnings(facts: TimingFacts): readonly Warning[] {
  const { samples, timedOperations, clockOverheadNs, settled, pinned, steal, ghz, switches } = facts;
  const limits = WARNING_LIMITS;
  const middle = median(samples);
  const deviation = middle > 0 ? medianAbsoluteDeviation([...samples]) / middle : 0;
  const [before = 0, after = 0] = ghz;
  const warnings: Warning[] = [];
  if (samples.length < limits.leastSamples) warnings.push({ code: 'few-samples', samples: samples.length });
  if (deviation > limits.deviation) warnings.push({ code: 'noisy', over: limits.deviation });
  if (middle * timedOperations * limits.clock < clockOverheadNs)
    warnings.push({ code: 'coarse-clock', over: limits.clock });
  if (steal > limits.steal) warnings.push({ code: 'steal', over: limits.steal });
  if (before > 0 && Math.abs(after / before - 1) > limits.frequency)
    warnings.push({ code: 'frequency', over: limits.frequency });
  if (switches > samples.length * limits.putAside) warnings.push({ code: 'put-aside', over: limits.putAside });
  if (!settled) warnings.push({ code: 'unsettled' });
  if (!pinned) warnings.push({ code: 'unpinned' });
  return warnings;
}

/**
 * The warnings of a row that JavaScript timed: of all facts, the samples alone are known, and whether warm-up had
 * settled.
 */
export function sampleWarnings(samples: readonly number[], settled = true): readonly Warning[] {
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
