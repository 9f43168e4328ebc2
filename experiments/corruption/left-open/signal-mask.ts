/**
 * Does anything undo a signal mask that a callee leaves behind?
 *
 * Stands for libraries that block signals around a critical section and return early. Every mechanism: the thread stays
 * deaf, and children inherit that. The mask is put back after a fault only. On each way out it would take a system
 * call, some hundred times what the gate costs.
 * Varies: mechanism. Records: which signals are blocked afterwards.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'all signals blocked, never undone',
  remedy: { kinds: ['vm'], text: 'pthread_sigmask after calls into libraries that are known to change the mask' },
  expected: () => expectHostDamage('the signal mask belongs to the thread, not to memory'),
  run(trial) {
    const blocked = trial.unguarded('uint64_t foreign_blocked_signals(void)');
    const before = blocked();
    trial.canary('signal mask', () => blocked() === before);
    trial.answered(trial.foreign('int foreign_block_signals(void)')());
  },
};
