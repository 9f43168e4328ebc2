/**
 * Does a library with a legitimate SIGSEGV handler of its own work, whatever guards are made meanwhile?
 *
 * Stands for garbage collectors with a write barrier by mprotect, for safepoints, for software that grows its arrays by
 * faults. The library's handler opens its page, and hands on what is not its own. It is asked first, before and after
 * the trap has been armed again, as a second guard or a listener of the VM's does.
 * Varies: mechanism. Records: how many stores the library caught.
 */
import { binding } from '../../../src/callout/binding.js';
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a library's own write barrier, before and after the trap is armed again",
  expected: () => ({ verdicts: ['harmless'], why: "the library's handler is asked first" }),
  refusedBy: 'dispatch', // a callee installs no handler of the trap's signals
  run(trial) {
    trial.answered(trial.foreign('int foreign_barrier_begin(void)')());
    const use = trial.foreign('int foreign_barrier_use(void)');
    const first = Number(use());
    binding.rearm();
    const second = Number(use());
    trial.canary('two stores caught', () => first === 1 && second === 2);
  },
};
