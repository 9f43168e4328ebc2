/**
 * Does a store through a wild pointer reach the image?
 *
 * Stands for an uninitialised or miscomputed pointer in a C library that happens to point into the VM's object heap.
 * Such a write corrupts an object long before anything crashes. One 8-byte store to a random aligned address in 'old'.
 * Varies: mechanism. Records: the fault or its absence, the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'one 8-byte store through a wild pointer into old space',
  quick: 'everywhere',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const write = trial.foreign('void foreign_write64(uint64_t address, uint64_t value)');
    write(trial.addressIn('old', 8), 0x4141414141414141n);
  },
};
