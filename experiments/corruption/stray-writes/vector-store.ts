/**
 * Is a 16-byte vector store prevented?
 *
 * Stands for what compilers and memcpy make of structure copies: `movups`, unaligned.
 * `none`, `flag`: 16 bytes land. mprotect and keys: faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'movups of 16 bytes into old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_write128(uint64_t address, uint64_t value)')(
      trial.addressIn('old', 24) + 3n,
      0x4141414141414141n,
    );
  },
};
