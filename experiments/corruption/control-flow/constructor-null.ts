/**
 * Does a library whose constructor faults fail to load, and nothing else?
 *
 * Stands for a constructor that looks for a device, a configuration file or another library, and uses what it did not
 * find. It writes through a null pointer while the loader holds its lock. `none`: the process dies while it only loads
 * a library. Every mechanism with the trap: the load fails with phase 'load'; the error's `suspect` is 'loader'. The
 * lock is the loading thread's own and recursive, so that this thread may load again; another one would wait.
 * Varies: mechanism. Records: the fault and its phase, and that the aftermath loads the same library.
 */
import { BUILT, type CorruptionCase, expectTrap, inProject } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a constructor that writes through a null pointer',
  expected: expectTrap,
  run(trial) {
    process.env['TURNKEY_FOREIGN_CTOR'] = 'null';
    trial.library(inProject(BUILT.foreignConstructor));
  },
};
