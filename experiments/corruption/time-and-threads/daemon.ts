/**
 * What becomes of the VM when the callee calls daemon(3)?
 *
 * Stands for a library function meant for programs. The process that called exits with code 0. A child, which has only
 * the calling thread, goes on in its place.
 * Varies: mechanism. Records: how the process ended. No protection of memory has a say in it.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'the callee calls daemon(3)',
  expected: () => ({ verdicts: ['crashed'], why: 'the process is gone, by its own exit' }),
  remedy: { kinds: ['process', 'filter'], text: 'a filter of system calls, or a process of its own for the callee' },
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('int foreign_daemon(void)')();
  },
};
