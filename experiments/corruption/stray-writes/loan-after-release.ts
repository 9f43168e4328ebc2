/**
 * What does a write through a pointer to a loan do after the VM has taken the loan back?
 *
 * Stands for the library that keeps a buffer and writes to it later (an asynchronous read, a registered row). By then
 * the VM believes the buffer to be its own again. The pages of a released loan are closed.
 * `none`: the process dies. Every mechanism with the trap: the callout that does it fails, where a malloc'd buffer
 * would have been damaged silently.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '8 bytes through a kept pointer to a loan that was released',
  expected: expectTrap,
  run(trial) {
    const loan = trial.lend(64);
    trial.foreign('void foreign_keep(void *pointer)')(loan);
    loan.release();
    trial.foreign('int foreign_scribble(uint8_t value, uint64_t bytes)')(0x41, 8);
  },
};
