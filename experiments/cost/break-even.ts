/**
 * How many callouts a second can one afford under each mechanism, and from which image size on?
 *
 * Nothing of its own is measured: the report works it out from measured parts (addedPerCallout in
 * src/report/derived.ts), what a mechanism adds to one callout by image size, from the experiment `callout`, times the
 * callouts of a second; and sets the rates of `applications` beside it. Where the CPU has no keys they are a model
 * there, by the published 11 to 260 cycles of a WRPKRU, drawn apart and named so.
 */
import type { CostExperiment } from '../../src/experiment/index.js';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'overhead by callouts a second and image size: computed by the report from callout and applications',
  rows: () => [],
  measure: () => ({ skipped: 'computed by the report' }),
};
