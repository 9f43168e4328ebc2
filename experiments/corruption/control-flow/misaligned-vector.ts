/**
 * Is a misaligned vector access survived, which tells no address?
 *
 * Stands for memory that was not aligned as a library asked (`movaps`). The processor raises a general protection
 * fault: its siginfo has address 0, but it is no null pointer. `none`: the process dies. Every mechanism with the trap:
 * trapped, with access 'unknown'.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'movaps to an odd address',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_misaligned_sse(void)')();
  },
};
