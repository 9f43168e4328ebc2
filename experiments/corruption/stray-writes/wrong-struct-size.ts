/**
 * Does a library that fills a structure larger than the VM thinks it is write into the image?
 *
 * Stands for a binding written from another platform's header: `pthread_mutex_t` has 24 bytes on 32-bit Linux and 40
 * here, so that pthread_mutex_init writes 16 bytes past what was allocated. The same happens with a library upgraded
 * under an old binding. `none`, `flag`: lands silently. mprotect and keys: the first byte past the structure faults.
 * Varies: mechanism. Records: the fault, with a pc in the C library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pthread_mutex_init on a structure declared with 24 of its 40 bytes',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const mutex = trial.neighbour(24);
    const init = trial.library('libc.so.6').func('int pthread_mutex_init(uintptr_t mutex, uintptr_t attributes)');
    init(mutex.address, 0);
  },
};
