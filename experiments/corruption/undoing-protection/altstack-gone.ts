/**
 * Is a fault survived when the alternate stack has been unmapped?
 *
 * Stands for libraries that free the stack on which their handlers ran, and leave it registered. The kernel cannot
 * write the signal frame.
 * Varies: mechanism. Records: the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an alternate stack that is unmapped, then a null pointer',
  expected: () => ({ verdicts: ['crashed'], why: 'the kernel cannot write the signal frame' }),
  remedy: {
    kinds: ['vm'],
    text: 'set the alternate stack again on the way into each callout, at the price of a system call',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.answered(trial.foreign('int foreign_altstack_gone(void)')());
    trial.foreign('void foreign_null_write(void)')();
  },
};
