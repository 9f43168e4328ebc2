/**
 * Where does an overflow end that never stops going up the stack?
 *
 * Stands for an unbounded copy into a local array: it ends where the stack does.
 * `none`: it runs off koffi's stack, into whatever is mapped above, until something faults, and the process dies. Every
 * mechanism with the trap: there is a guard page above the foreign stack; nothing of the VM's lies between.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '16 MiB above the own return address overwritten',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_smash_caller(uint64_t bytes, uint8_t value)')(16777216, 0x41);
  },
};
