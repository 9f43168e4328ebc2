/**
 * Is an exchange with memory prevented?
 *
 * Stands for `xchg`, the spin lock's instruction, on a lock that was in memory that is the image's now. It is locked
 * without a prefix. `none`, `flag`: the word changes. mprotect and keys: faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'xchg with a word of old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_swap(uint64_t address, uint64_t value)')(trial.addressIn('old'), 0x4141414141414141n);
  },
};
