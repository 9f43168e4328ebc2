/**
 * What does a heap of many ranges cost that the VM has mapped itself?
 *
 * A VM with an allocator of its own adopts its mappings into spaces (`pkeys_space_adopt`). A callout of an empty
 * function must close and open every range. mprotect makes two calls for each; keys take two PKRU writes for all.
 * Beside that: one more range that comes and goes (mmap, adopt, forget, munmap; `none`: mmap and munmap alone), and the
 * fault handler's look-up of an address. native/bench/adopted.c tries each mechanism before it is timed.
 * Varies: mechanism; ranges of one page each (25, as a small Node process has; 1,000; 10,000); operation. Records:
 * samples of one operation, in ns (native) or instructions (counted guest).
 */
import type { CostExperiment, CostRow, Mechanism } from '../../src/experiment/index.js';

const RANGES = [25, 1000, 10000];

const row = (mechanism: Mechanism, ranges: number, operation: string): CostRow => ({
  mechanism,
  parameters: { ranges, operation },
  options: { ranges, operation, pages: 1 },
});

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'a heap of many ranges that the VM has mapped itself',
  title: 'A heap of many ranges',
  question: 'What does a heap of many ranges cost that the VM has mapped itself?',
  order: 95,
  shows: 'lines',
  parameters: { ranges: { role: 'x' }, operation: { role: 'row', alone: true } },
  bench: 'adopted',
  rows: ({ quick }) =>
    quick
      ? []
      : RANGES.flatMap((ranges) => [
          ...(['none', 'flag', 'mprotect-range', 'pkeys'] as const).map((mechanism) =>
            row(mechanism, ranges, 'callout'),
          ),
          ...(['none', 'flag', 'pkeys'] as const).map((mechanism) => row(mechanism, ranges, 'adopt')),
          row('flag', ranges, 'find'),
        ]),
};
