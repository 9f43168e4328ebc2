/**
 * Does memcpy, called with a text too long for its heap block, run on into the image?
 *
 * Stands for a record copied by the length that its header claims (Heartbleed's mirror image; CVE-2021-3156 copies
 * past a heap block so). The block is the last one of a C heap whose pages end where the image begins. Large
 * mappings of malloc and of a VM lie side by side, because the kernel hands out addresses one below the other.
 * `none`, `flag`: of 200 bytes, 64 fill their block, and the rest goes into eden, silently. mprotect and keys: the
 * first byte past the heap's last page faults. What was overrun before it is C's own.
 * Varies: mechanism. Records: the fault's address, which is eden's first bytes, and that the pc lies in the C library.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'memcpy of 200 bytes into the last 64-byte block of a C heap next to the image',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const heap = trial.neighbour(4096);
    const fill = trial.foreign(
      'uint64_t foreign_heap_memcpy(uint64_t base, uint64_t bytes, uint64_t block, uint64_t length)',
    );
    fill(heap.address, heap.bytes, 64, 200);
  },
};
