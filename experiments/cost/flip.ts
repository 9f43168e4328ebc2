/**
 * What does it cost to deny writes to the whole image and to allow them again?
 *
 * One deny-and-restore pair over touched 4 KiB pages: two PKRU writes, two calls of glibc's pkey_set, two mprotect calls over the
 * range, or two per page. native/bench/flip.c tries each flip before it is measured.
 * Varies: mechanism, image size. Records: samples of one pair, in ns (native) or instructions (counted guest).
 */
import type { CostExperiment } from '../../src/experiment/case.js';
import { imageSizes } from '../../src/experiment/sizes.js';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one deny-and-restore pair over the whole image',
  bench: 'flip',
  rows: (setting) => imageSizes(setting).flatMap((imageBytes) =>
    (['mprotect-page', 'mprotect-range', 'pkeys-glibc', 'pkeys'] as const).map((mechanism) => ({ mechanism, parameters: { imageBytes, pages: imageBytes / 4096 } }))),
};
