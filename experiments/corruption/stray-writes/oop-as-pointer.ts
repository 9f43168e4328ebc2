/**
 * Is an object pointer passed where C memory was wanted written through?
 *
 * Stands for the classic of Smalltalk FFIs: the object itself is passed in place of the address of its bytes. That is
 * its header's address, often with a tag in the low bits. The callee stores to it, unaligned by the tag.
 * `none`, `flag`: the object's header changes: its class, its size, its hash. mprotect and keys: faults.
 * Varies: mechanism. Records: the fault, or the bytes changed and what the heap's walk says of them.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an 8-byte store to a tagged object pointer',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      trial.addressIn('old', 16) | 1n,
      0x4141414141414141n,
    );
  },
};
