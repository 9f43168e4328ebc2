/**
 * What do other VM threads pay while one thread makes callouts back to back?
 *
 * One thread calls an empty foreign function in a loop. Each other thread has a processor of its own. It reads or
 * writes one word of each page of the image in turn, or it allocates. mprotect closes the image for all of them. They
 * fault and wait, and every flip interrupts their processors (TLB shootdown). Keys are each thread's own. The shootdown
 * of more processors than this machine has cannot be measured here. native/bench/threads.c.
 * Varies: mechanism, work, number of others (more than there are processors besides the first is marked
 * oversubscribed), what is measured. Records: ns of one operation of another thread, by what all of them got done in a
 * window of 10 ms; or ns of one callout meanwhile. `observed`: faults and waits of bystanders, unprotected windows,
 * callouts and operations in all windows. Native lane only: the counted guest has one processor.
 */
import type { CostExperiment, CostRow, Mechanism } from '../../src/experiment/index.js';
import { imageSize } from '../support/sizes.js';

const MECHANISMS: readonly Mechanism[] = ['none', 'flag', 'mprotect-page', 'mprotect-range', 'mprotect-naive', 'pkeys'];
const PAGES = 256;

function row(mechanism: Mechanism, work: string, threads: number, what: string, measure: string): CostRow {
  const dies = mechanism === 'mprotect-naive' && work === 'write';
  return {
    mechanism,
    parameters: { imageBytes: imageSize(PAGES).imageBytes, what, work, threads },
    options: { pages: PAGES, work, threads, measure },
    ...(dies
      ? {
          skip:
            "a thread that writes the image while another's callout has it closed dies: mprotect-naive " +
            'has nobody wait',
        }
      : {}),
    together: `${work}, ${threads}, ${what}`,
  };
}

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'what other threads pay while one makes callouts',
  title: 'Other threads',
  question: 'What do other threads of the VM lose while one makes callouts?',
  order: 20,
  shows: 'ratios',
  parameters: {
    imageBytes: { role: 'size', unit: 'bytes' },
    what: { role: 'panel', alone: true },
    work: { role: 'row', alone: true },
    threads: { role: 'row', unit: 'count' },
  },
  measures: 'bystanders',
  table: {
    rows: { 'of the others': { what: 'operation of the others' } },
    columns: { work: 'work', threads: 'threads' },
    observed: { faults: 'bystanderFaults', waited: 'bystanderWaitedNs', 'unprotected windows': 'unprotectedWindows' },
  },
  bench: 'threads',
  rows({ quick, lane, cores }) {
    if (quick) return [];
    if (lane === 'emulated')
      return (['mprotect-range', 'pkeys'] as const).map((mechanism) => ({
        mechanism,
        parameters: {},
        skip: 'the counted guest has one processor: threads do not run side by side',
      }));
    const numbers = [...new Set([1, Math.max(1, Math.min(cores - 1, 8)), Math.min(cores, 9)])];
    return (['read', 'write', 'allocate'] as const).flatMap((work) =>
      numbers.flatMap((threads) =>
        MECHANISMS.flatMap((mechanism) => [
          row(mechanism, work, threads, 'operation of the others', 'others'),
          row(mechanism, work, threads, 'callout meanwhile', 'callouts'),
        ]),
      ),
    );
  },
};
