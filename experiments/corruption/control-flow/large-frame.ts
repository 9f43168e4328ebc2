/**
 * Is a stack overflow survived that steps over a guard page?
 *
 * Stands for recursion with large local arrays. Each frame is larger than a page, so the first touch may lie beyond a
 * single guard page. There is at least 1 MiB of guard. `none`: the process dies. Every mechanism with the trap:
 * trapped, on the alternate stack.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'recursion without end, frames of 64 KiB',
  expected: expectTrap,
  run(trial) {
    trial.foreign('uint64_t foreign_recurse(uint64_t depth, uint64_t frame_bytes)')(0, 65536);
  },
};
