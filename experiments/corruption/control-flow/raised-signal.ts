/**
 * Is a SIGSEGV that the callee sends itself taken for a fault?
 *
 * Stands for test programs that call raise(SIGSEGV) to show that they survive faults, and for kill(getpid(), ...). It
 * says nothing about any access: there is no address and no instruction to fail, and another process may have sent it.
 * Every mechanism: the trap declines what the kernel did not raise for an instruction of this thread (I5). The default
 * action ends the process, as it would have without Turnkey.
 * Varies: mechanism. Records: the signal, and the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'raise(SIGSEGV)',
  remedy: { kinds: ['nothing'], text: 'Nothing should: a sent signal is a request to the process.' },
  expected: () => ({ verdicts: ['crashed'], why: 'a signal that was sent is not a fault (I5)' }),
  refusedBy: 'dispatch', // it puts the signal's default action back first
  run(trial) {
    trial.foreign('void foreign_raise(int signal)')(11);
  },
};
