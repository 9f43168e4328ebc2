/**
 * Is the stack protector's abort survived?
 *
 * Stands for a library built as distributions build them (-fstack-protector-strong): the overflow is found before the
 * return, "*** stack smashing detected ***", abort. `none`: the process dies. Every mechanism with the trap: the
 * SIGABRT that the thread sent itself fails the callout (I5's exception). No lock is held then.
 * Varies: mechanism. Records: the signal.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an overflow of a local array, found by the stack protector',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_smash_protected(uint64_t bytes)')(64);
  },
};
