/**
 * Is an illegal instruction survived?
 *
 * Stands for a library built for a newer processor (AVX-512 on one that lacks it), and for __builtin_unreachable
 * reached (`ud2`). `none`: the process dies of SIGILL. Every mechanism with the trap: trapped.
 * Varies: mechanism. Records: the signal and the pc.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an undefined instruction (ud2)',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_illegal(void)')();
  },
};
