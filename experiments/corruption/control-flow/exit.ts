/**
 * Does exit() in the callee end the VM?
 *
 * Stands for command-line programs made into libraries (they call exit on wrong usage), for `die()` functions.
 * Every mechanism: the process ends, its atexit handlers run, and no fault is raised that a trap could see. The image
 * on disk is as of the last save; in memory it was equal at the end.
 * Varies: mechanism. Records: the exit code, and the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'exit(7)',
  remedy: {
    kinds: ['process', 'filter'],
    text:
      'A syscall filter (seccomp with SECCOMP_RET_TRAP on exit_group during callouts), interposing exit, or ' +
      'another process.',
  },
  expected: () => ({ verdicts: ['crashed'], why: 'exit is an ordinary system call, not a fault' }),
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('void foreign_exit(int code)')(7);
  },
};
