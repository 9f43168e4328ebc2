/**
 * Where does a `rep movsb` that runs into the image stop?
 *
 * Stands for memcpy on processors with fast string moves: one instruction that may have done half its work when it
 * faults. It starts 64 bytes before eden. `none`, `flag`: the second half lands in eden. mprotect and keys: the first
 * half lands in C's own page, the first byte of eden faults; rcx says how much was left.
 * Varies: mechanism. Records: the fault's address, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'rep movsb of 128 bytes, the last 64 of them in eden',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const start = trial.neighbour(64);
    const copy = trial.foreign('void foreign_copy_rep(uint64_t destination, const uint8_t *source, uint64_t bytes)');
    copy(start.address, Buffer.alloc(128, 0x41), 128);
  },
};
