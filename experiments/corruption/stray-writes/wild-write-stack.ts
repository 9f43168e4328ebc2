/**
 * Does a store through a wild pointer reach 'stack', the VM's own stack of contexts?
 *
 * Stands for a pointer to an activation of a method that has returned: the library kept the address of a temporary. The
 * VM finds the damage when it next walks its frames. `none`, `flag`: the 8 bytes land and nobody is told. mprotect and
 * keys: the store faults before it changes anything, whatever the space.
 * Varies: mechanism, denial, one key or one per space. Records: the fault and its key, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "one 8-byte store through a wild pointer into 'stack'",
  expected: (setting) => expectStore(setting),
  run(trial) {
    const write = trial.foreign('void foreign_write64(uint64_t address, uint64_t value)');
    write(trial.addressIn('stack'), 0x4141414141414141n);
  },
};
