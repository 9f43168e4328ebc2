/**
 * Is an access past the end of a mapped file survived?
 *
 * Stands for a database or a font that another process truncated while it was mapped (SIGBUS; SQLite's memory-mapped
 * I/O warns of it). `none`: the process dies. Every mechanism with the trap: trapped.
 * Varies: mechanism. Records: the signal.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store past the end of a mapped file',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_bus(void)')();
  },
};
