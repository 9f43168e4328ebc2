/**
 * Does a return to a garbage address fail the callout and nothing else?
 *
 * Stands for a frame that was overwritten with plausible data. The processor's return prediction and, where there is
 * one, its shadow stack are out of step with the stack afterwards. The gate does not use what the callee left on it.
 * `none`: the process dies. Every mechanism with the trap: trapped.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a return to 0x4141414141',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_return_to(uint64_t address)')(0x4141414141n);
  },
};
