/**
 * Is a stack overflow survived when the callee has dropped the alternate stack?
 *
 * Stands for the same libraries, and recursion without end after them: no stack is left to run the handler on.
 * Varies: mechanism. Records: the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'the alternate stack dropped, then recursion without end',
  expected: () => ({ verdicts: ['crashed'], why: 'no stack is left for the handler' }),
  remedy: {
    kinds: ['vm'],
    text: 'set the alternate stack again on the way into each callout, at the price of a system call',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.answered(trial.foreign('int foreign_drop_altstack(void)')());
    trial.foreign('uint64_t foreign_recurse(uint64_t depth, uint64_t frame_bytes)')(0, 64);
  },
};
