/**
 * Is a callee survived that overwrites the frame of the function that called it?
 *
 * Stands for the commoner overflow: a local array is passed down, and it is the function it was passed to that writes
 * past its end. The caller's return address is what goes. The value is no canonical address. `none`: the process dies.
 * Every mechanism with the trap: trapped when the caller returns.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'eight words past a local array that was passed down',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_smash_by_callee(uint64_t value)')(0x4141414141414141n);
  },
};
