/**
 * Is the image safe while a library is loaded?
 *
 * Stands for constructors: code that runs in dlopen before any function was called, in the loader's hands. This one
 * stores to an address that it got from the environment. `none`, `flag`: the store lands while the VM only loads a
 * library. mprotect and keys: loading is a callout too. The load fails with phase 'load'.
 * Varies: mechanism. Records: the fault and its phase, or the bytes changed.
 */
import { BUILT, type CorruptionCase, expectStore, inProject } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a constructor that stores 8 bytes into old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    process.env['TURNKEY_FOREIGN_CTOR'] = `write:0x${trial.addressIn('old').toString(16)}`;
    trial.library(inProject(BUILT.foreignConstructor));
  },
};
