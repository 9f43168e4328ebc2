/**
 * Is an atomic read-modify-write of the image prevented?
 *
 * Stands for a reference count kept inside an object that the VM has moved or freed (a g_object_unref too many): `lock
 * xadd`. `none`, `flag`: the word changes. mprotect and keys: faults; nothing is half done, for the instruction has not
 * begun to store.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'lock xadd of 1 on a word of old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('uint64_t foreign_atomic_add(uint64_t address, uint64_t value)')(trial.addressIn('old'), 1);
  },
};
