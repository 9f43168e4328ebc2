/**
 * Does a store through a wild pointer reach 'eden', where the newest objects are?
 *
 * Stands for an out-parameter computed from a stale index, which lands among objects that the VM has just made and not
 * yet published. `none`, `flag`: the 8 bytes land and nobody is told. mprotect and keys: the store faults before it
 * changes anything, whatever the space.
 * Varies: mechanism, denial, one key or one per space. Records: the fault and its key, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "one 8-byte store through a wild pointer into 'eden'",
  expected: (setting) => expectStore(setting),
  run(trial) {
    const write = trial.foreign('void foreign_write64(uint64_t address, uint64_t value)');
    write(trial.addressIn('eden'), 0x4141414141414141n);
  },
};
