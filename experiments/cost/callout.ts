/**
 * What does one guarded callout of an empty C function cost, and does it grow with the image?
 *
 * In C, without a language binding: through the gate's thunk, trap armed, image closed, called on the foreign stack,
 * all put back. `none` is the raw call, the baseline of every round. Before a row is timed, read(2) into the image from
 * inside a guarded call must answer EFAULT. native/bench/callout.c.
 * Varies: mechanism, image size (1 to 65,536 pages in powers of four). Records: samples of one callout, in ns (native)
 * or instructions (counted guest).
 */
import { type CostExperiment, GUARD_MECHANISMS } from '../../src/experiment/index.js';
import { imagePages, imageSize, sizedRow } from '../support/sizes.js';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one guarded callout of an empty C function',
  title: 'One callout in C',
  question: 'What does one guarded callout of an empty function cost, without a language binding?',
  order: 90,
  shows: 'lines',
  parameters: { imageBytes: { role: 'size', unit: 'bytes' } },
  headline: {
    picture: 'one guarded callout of an empty C function: close the image, call, open it',
    sentence: 'a guarded callout of an empty function',
  },
  measures: 'call in C',
  bench: 'callout',
  rows: (setting) =>
    imagePages(setting).flatMap((pages) =>
      GUARD_MECHANISMS.map((mechanism) => ({
        ...sizedRow(setting, mechanism, pages, imageSize(pages)),
        ...(mechanism === 'none' ? {} : { rung: `callout in C, ${mechanism}` }),
      })),
    ),
};
