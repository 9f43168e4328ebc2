/**
 * Is the image safe while a library is unloaded?
 *
 * Stands for destructors that clean up through pointers long gone: code that runs in dlclose.
 * `none`, `flag`: the store lands. mprotect and keys: unloading is a callout too.
 * Varies: mechanism. Records: the fault and its phase, or the bytes changed.
 */
import { BUILT, type CorruptionCase, expectStore, inProject } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a destructor that stores 8 bytes into old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const library = trial.library(inProject(BUILT.foreignDestructor));
    library.func('int foreign_destructor_at(uint64_t address)')(trial.addressIn('old'));
    library.unload();
  },
};
