/**
 * Does a C++ exception that nobody catches pass the gate?
 *
 * Stands for a C++ library behind a C interface that forgot to catch. Unwinding through the gate would leave it without
 * restoring the rights. `none`: it unwinds into koffi's frames or ends in std::terminate: the process dies. Every
 * mechanism with the trap: the gate is an unwind barrier; the runtime finds no handler and aborts, which fails the
 * callout.
 * Varies: mechanism. Records: the signal.
 */
import { BUILT, type CorruptionCase, expectTrap, inProject } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'throw, with no catch in the library',
  expected: expectTrap,
  run(trial) {
    trial.library(inProject(BUILT.foreignThrow)).func('int foreign_throw(int value)')(1);
  },
};
