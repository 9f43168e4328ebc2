/**
 * Is a fault survived while the direction flag is set?
 *
 * Stands for hand-written assembly that faults between `std` and `cld`: every string instruction of the handler and of
 * the VM would run backwards. `none`: the process dies. Every mechanism with the trap: the handler clears the flag
 * (I7); the aftermath would show it at once if not.
 * Varies: mechanism. Records: the fault, and an aftermath that works.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a null write with DF set',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_fault_with_df(void)')();
  },
};
