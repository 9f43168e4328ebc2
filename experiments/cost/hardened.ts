/**
 * What does a filter of system calls cost a callout, and a system call that passes?
 *
 * An empty guarded callout, and one whose callee calls getppid(2), unfiltered and by each way of filtering. Dispatch
 * turns a selector on and off for each callout, and raises a signal for each call. A seccomp filter costs a callout
 * nothing; each call goes through its program in the kernel. Sealing and the search cost nothing once they are done.
 * native/bench/hardened.c.
 * Varies: mechanism, way, work. Records: samples of one callout, in ns (native) or instructions (counted guest).
 */
import { type CostExperiment, type CostRow } from '../../src/experiment/index.js';

const WORK = ['nothing', 'call'] as const;
const WAYS = ['none', 'dispatch', 'seccomp'] as const;
const NAMES = { none: 'not filtered', dispatch: 'by dispatch', seccomp: 'by seccomp' } as const;

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one guarded callout whose system calls are judged',
  title: 'Filters of system calls',
  question: 'What does a filter cost a callout, and a system call that passes?',
  order: 96,
  shows: 'rows',
  parameters: {
    work: { role: 'row', alone: true },
    way: { role: 'row', alone: true, free: true },
  },
  bench: 'hardened',
  rows: ({ quick }) =>
    quick
      ? []
      : WORK.flatMap((work) =>
          (['none', 'flag', 'pkeys'] as const).flatMap((mechanism) =>
            WAYS.filter((way) => way === 'none' || mechanism !== 'none').map((way): CostRow => ({
              mechanism,
              parameters: { work: work === 'call' ? 'getppid' : 'empty', way: NAMES[way] },
              options: { work, way, pages: 16 },
              together: work,
            })),
          ),
        ),
};
