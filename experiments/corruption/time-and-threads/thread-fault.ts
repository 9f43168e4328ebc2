/**
 * Does a fault in a thread of the callee's fail the callout?
 *
 * Stands for a library whose worker thread follows a null pointer while the VM waits in the call. The fault is another
 * thread's, in no callout of the VM's; nothing could be unwound to where the VM waits.
 * Varies: mechanism. Records: the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a null pointer in a thread that the callee starts',
  expected: () => ({
    verdicts: ['crashed'],
    why: 'the fault is in no callout: the thread that waits cannot answer for it',
  }),
  remedy: { kinds: ['process'], text: 'a process of its own for code that starts threads' },
  run(trial) {
    trial.foreign('int foreign_thread_fault(void)')();
  },
};
