/**
 * Does a store half in an open page and half in a closed one change either half?
 *
 * Stands for any unaligned access across the image's first byte. Faults are precise: the store is done whole or not at
 * all. `none`, `flag`: 4 bytes land in eden. mprotect and keys: it faults, and the 4 bytes before eden keep their value
 * too (a note says so).
 * Varies: mechanism. Records: the address that the fault tells, and the open half.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an 8-byte store, 4 bytes of it before the image, 4 in it',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const before = trial.neighbour(8);
    const sum = trial.foreign('uint64_t foreign_checksum(uintptr_t bytes, uint64_t count)');
    const held = sum(before.address, 8);
    try {
      trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(before.address + 4n, 0x4141414141414141n);
    } finally {
      trial.note(sum(before.address, 8) === held ? 'the open half was not changed' : 'the open half was changed');
    }
  },
};
