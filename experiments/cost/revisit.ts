/**
 * What does the VM pay when it comes back to its image after a callout?
 *
 * An empty function is called. Then, timed alone, some pages are accessed once each, at another cache line in each
 * page. mprotect has emptied the TLB of these pages. Where the kernel does not open them at once, writes fault too.
 * Keys leave page tables and TLB as they are. `none` touches the same pages after a raw call: the baseline of every
 * round. native/bench/callout.c.
 * Varies: mechanism, pages touched (1 to 16,384), read or write. Records: samples of touching all of them once, in ns
 * (native) or instructions (counted guest: TLB misses are not instructions, so only faults show there).
 */
import type { CostExperiment, Mechanism } from '../../src/experiment/index.js';
import { imageSize } from '../support/sizes.js';

const MECHANISMS: readonly Mechanism[] = ['none', 'mprotect-page', 'mprotect-range', 'pkeys'];
const IMAGE_PAGES = 16384;

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'touching pages of the image after a callout',
  title: 'Coming back to the image',
  question: 'What does the VM pay when it touches its image again after a callout?',
  order: 10,
  shows: 'lines',
  parameters: {
    imageBytes: { role: 'size', unit: 'bytes' },
    touchedPages: { role: 'x' },
    access: { role: 'row', alone: true },
  },
  bench: 'revisit',
  rows: ({ quick, lane }) =>
    quick
      ? []
      : (['write', 'read'] as const).flatMap((access) =>
          [1, 4, 16, 64, 256, 1024, 4096, 16384].flatMap((touchedPages) =>
            MECHANISMS
              // Page by page, one callout over this image takes a tenth of a second, and is counted for a minute.
              .filter(
                (mechanism) =>
                  mechanism !== 'mprotect-page' ||
                  (lane === 'native' && [16, 1024, IMAGE_PAGES].includes(touchedPages)),
              )
              .map((mechanism) => {
                const parameters = { imageBytes: imageSize(IMAGE_PAGES).imageBytes, touchedPages, access };
                return {
                  mechanism,
                  parameters,
                  options: { pages: IMAGE_PAGES, touchedPages, access },
                  ...(mechanism === 'mprotect-page' ? { together: `page ${access} ${touchedPages}` } : {}),
                };
              }),
          ),
        ),
};
