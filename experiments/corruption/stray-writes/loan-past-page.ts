/**
 * Is a write one past a lent buffer that ends its page noticed?
 *
 * Stands for the same `<=` as loan-off-by-one, with the buffer's end flush with the guard page: what guarded allocators
 * (Electric Fence) do. `none`: the guard page ends the process. Every mechanism with the trap: the callout fails. No
 * image page is involved.
 * Varies: mechanism. Records: the fault, outside the image.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '101 bytes written to a loan of 100 that ends its page',
  expected: expectTrap,
  run(trial) {
    const loan = trial.lend(100, 'end');
    trial.foreign('uint64_t foreign_overflow(uint8_t *start, uint64_t bytes, uint8_t value)')(loan, 101, 0x41);
  },
};
