/**
 * What would a user do otherwise, and what does that cost?
 *
 * The same small function is called in these ways:
 *
 *   in this process, plainly and through the gate
 *   in a process forked beforehand, over shared memory; each side is woken by a futex
 *   in a child process over a pair of pipes
 *   by a worker thread of this process, woken by a futex: it protects nothing, and shows what handing over costs alone
 *
 * Nobody spins: an idle side sleeps, as it would between callouts. The image of the guarded rows has 256 pages. Every
 * way must have given the right result before it is timed. native/bench/alternatives.c.
 * Varies: way, bytes of a buffer that the callee changes (copied there and back for another process), both sides on one
 * processor or on two. Records: samples of one call, in ns (native) or instructions of both sides (counted guest, one
 * processor).
 */
import type { CostExperiment } from '../../src/experiment/index.js';

const WAYS = [
  { way: 'call', option: 'call', mechanism: 'none' },
  { way: 'guarded callout', option: 'guarded', mechanism: 'flag' },
  { way: 'guarded callout', option: 'guarded', mechanism: 'mprotect-range' },
  { way: 'guarded callout', option: 'guarded', mechanism: 'pkeys' },
  { way: 'worker thread, futex', option: 'thread', mechanism: 'none' },
  { way: 'pre-forked process, futex', option: 'process', mechanism: 'process' },
  { way: 'child over a pipe', option: 'pipe', mechanism: 'process' },
] as const;

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'the same call in another thread or process',
  title: 'What one would do otherwise',
  question: 'What does the same callout cost in another thread or process?',
  order: 120,
  shows: 'rows',
  parameters: {
    way: { role: 'row', alone: true, free: true, baseline: 'call' },
    bufferBytes: { role: 'row', unit: 'bytes' },
    processors: { role: 'row', unit: 'count', free: true },
  },
  bench: 'alternatives',
  rows: ({ quick, lane, cores }) =>
    quick
      ? []
      : [0, 4096].flatMap((bytes) =>
          [1, 2]
            .filter((processors) => processors === 1 || (lane === 'native' && cores > 1))
            .flatMap((processors) =>
              WAYS.filter(({ option }) => (option !== 'call' && option !== 'guarded') || processors === 1).map(
                ({ way, option, mechanism }) => ({
                  mechanism,
                  parameters: { way, bufferBytes: bytes, processors },
                  options: { way: option, bytes, processors },
                  together: `${bytes} bytes, ${processors}`,
                  ...(option === 'call' || bytes > 0
                    ? {}
                    : { rung: `${way}, ${processors === 1 ? 'one processor' : 'two processors'}` }),
                }),
              ),
            ),
        ),
};
