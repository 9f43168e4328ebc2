/**
 * Does unbounded recursion in the callee fail the callout and nothing else?
 *
 * Stands for a recursive parser given hostile nesting, or a comparator that calls itself. Recurses without end with
 * small frames until the guard below the foreign stack.
 * Varies: mechanism. Records: the fault, and that the VM goes on.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'recursion without end',
  quick: 'everywhere',
  expected: (setting) => expectTrap(setting),
  run(trial) {
    trial.foreign('uint64_t foreign_recurse(uint64_t depth, uint64_t frame_bytes)')(0, 64);
  },
};
