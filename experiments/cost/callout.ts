/**
 * What does one guarded callout of an empty C function cost?
 *
 * In C, without a language binding: through the gate's thunk, trap armed, image closed, called on the foreign stack, all put
 * back. `none` is the raw call. native/bench/callout.c.
 * Varies: mechanism, image size. Records: samples of one callout, in ns (native) or instructions (counted guest).
 */
import type { CostExperiment } from '../../src/experiment/case.js';
import { imageSizes } from '../../src/experiment/sizes.js';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one guarded callout of an empty C function',
  bench: 'callout',
  rows: (setting) => imageSizes(setting).flatMap((imageBytes) =>
    (['none', 'flag', 'mprotect-page', 'mprotect-range', 'mprotect-naive', 'pkeys-glibc', 'pkeys'] as const).map((mechanism) => ({ mechanism, parameters: { imageBytes, pages: imageBytes / 4096 } }))),
};
