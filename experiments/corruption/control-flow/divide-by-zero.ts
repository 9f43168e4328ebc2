/**
 * Is a division by zero survived?
 *
 * Stands for a missing check in image code: zero width, zero samples.
 * `none`: the process dies of SIGFPE. Every mechanism with the trap: trapped.
 * Varies: mechanism. Records: the signal.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'idiv by zero',
  expected: expectTrap,
  run(trial) {
    trial.foreign('int foreign_divide(int dividend, int divisor)')(1, 0);
  },
};
