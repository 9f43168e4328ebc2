/**
 * Is a callee that overwrites its own saved registers and return address survived?
 *
 * Stands for the overflow of a local array in a function built without a stack protector. The value is no canonical
 * address, so that the return itself faults (general protection, which tells no address). `none`: the process dies.
 * Every mechanism with the trap: the foreign stack is the callee's alone; recovery reads nothing from it.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'saved frame pointer and return address overwritten',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_smash_own(uint64_t value)')(0x4141414141414141n);
  },
};
