/**
 * Can a stale write to a freed block, inside memory that was lent, end in the image?
 *
 * Stands for a library with an allocator of its own in memory that the VM lent it (SQLite's page cache, a parser's
 * arena). A block is freed; its stale owner sets a field, which is the free list's link now. The allocator hands out
 * "the next block", which is an object of the image, and its owner fills it. `none`, `flag`: 32 bytes land in old
 * space. mprotect and keys: the loan is open, the image is not: the last step faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a use after free in a lent pool makes it hand out an object of the image',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const pool = trial.lend(4096);
    trial.foreign('void foreign_pool_open(void *memory, uint64_t bytes)')(pool, 4096);
    trial.foreign('uint64_t foreign_pool_use_after_free(void *pool, uint64_t value, uint64_t fill_bytes)')(
      pool,
      trial.addressIn('old', 64),
      32,
    );
  },
};
