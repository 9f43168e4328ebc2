/**
 * Is an integer passed where a pointer is wanted caught?
 *
 * Stands for swapped arguments and forgotten `&`: the callee writes to address 4242. No image lies there, nor anything
 * else (vm.mmap_min_addr). `none`: the process dies. Every mechanism with the trap: the callout fails, no thanks to
 * keys.
 * Varies: mechanism. Records: the fault's address.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store to address 4242',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(4242, 1);
  },
};
