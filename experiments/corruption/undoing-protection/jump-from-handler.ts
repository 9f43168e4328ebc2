/**
 * Does a callee that leaves a signal handler by siglongjmp come to rights that it should not have?
 *
 * Stands for libraries that try out whether memory can be read. The jump keeps the handler's PKRU, in which everything
 * but key 0 is denied. At the first access that the callout's rights allow, the trap gives those back, and no others.
 * The store to 'old' that follows the jump is what they deny.
 * Varies: mechanism. Records: the fault, with the key and the rights.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a jump out of a handler of its own, then a store',
  expected: (setting) => expectStore(setting),
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('void foreign_try_then_write(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
