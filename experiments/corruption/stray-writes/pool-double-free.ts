/**
 * Can a double free, inside memory that was lent, end in the image?
 *
 * Stands for an error path that frees what the normal path frees too. The pool checks nothing: the block is in its list
 * twice and gets two owners. What the first owner writes is the link that the pool follows.
 * `none`, `flag`: 32 bytes land in old space. mprotect and keys: the last store faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a double free in a lent pool makes it hand out an object of the image',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const pool = trial.lend(4096);
    trial.foreign('void foreign_pool_open(void *memory, uint64_t bytes)')(pool, 4096);
    trial.foreign('uint64_t foreign_pool_double_free(void *pool, uint64_t value, uint64_t fill_bytes)')(
      pool,
      trial.addressIn('old', 64),
      32,
    );
  },
};
