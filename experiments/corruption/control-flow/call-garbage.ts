/**
 * Does a call through a garbage function pointer fail the callout and nothing else?
 *
 * Stands for a callback table that was freed, a structure of functions from another version. The target is not mapped.
 * `none`: the process dies. Every mechanism with the trap: the instruction fetch faults at the target, with the return
 * address still on the foreign stack.
 * Varies: mechanism. Records: the fault, whose access is 'execute', and that the VM goes on.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a call to 0x4141414141',
  expected: expectTrap,
  run(trial) {
    trial.foreign('int foreign_call(uint64_t address)')(0x4141414141n);
  },
};
