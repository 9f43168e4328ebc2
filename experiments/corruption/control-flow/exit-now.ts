/**
 * Does _exit() in the callee end the VM?
 *
 * Stands for a fork gone wrong: the child's branch, which ends in _exit(127), run in the parent.
 * Every mechanism: the process ends at once; no handler runs.
 * Varies: mechanism. Records: the exit code, and the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '_exit(7)',
  remedy: {
    kinds: ['process', 'filter'],
    text: 'A syscall filter (seccomp with SECCOMP_RET_TRAP on exit_group during callouts), or another process.',
  },
  expected: () => ({ verdicts: ['crashed'], why: '_exit is an ordinary system call, not a fault' }),
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('void foreign_exit_now(int code)')(7);
  },
};
