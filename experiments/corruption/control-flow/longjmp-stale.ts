/**
 * Is a longjmp to a function that has returned survived?
 *
 * Stands for libpng's and Lua's error handling with the setjmp in a helper that is gone. The stack pointer comes back
 * to a frame that was used again since, and its return address is whatever is there now. `none`: the process dies, or
 * goes on anywhere. Every mechanism with the trap: the return to garbage faults.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'longjmp to a frame that is gone',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_longjmp_stale(void)')();
  },
};
