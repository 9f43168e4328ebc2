/**
 * What does one failed callout cost, from the call through the fault and the recovery back to the caller?
 *
 * In C: the callee stores into the closed image (through a null pointer where nothing is closed), the trap recovers, the record is taken.
 * native/bench/callout.c.
 * Varies: mechanism, image size. Records: samples of one failed callout, in ns (native) or instructions (counted guest).
 */
import type { CostExperiment } from '../../src/experiment/case.js';
import { imageSizes } from '../../src/experiment/sizes.js';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one callout that faults and is recovered',
  bench: 'fault',
  rows: (setting) => imageSizes(setting).flatMap((imageBytes) =>
    (['flag', 'mprotect-page', 'mprotect-range', 'mprotect-naive', 'pkeys-glibc', 'pkeys'] as const).map((mechanism) => ({ mechanism, parameters: { imageBytes, pages: imageBytes / 4096 } }))),
};
