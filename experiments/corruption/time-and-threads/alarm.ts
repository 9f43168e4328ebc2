/**
 * What becomes of an alarm that a callee had set when it failed?
 *
 * Stands for libraries that guard a slow operation by alarm(2), and would have cancelled it on the way out. The callee
 * sets a timer of 100 ms; the next callout faults. The signal comes when the VM has long gone on, and its default
 * action ends the process.
 * Varies: mechanism. Records: the signal, the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a timer set, then a fault',
  remedy: { kinds: ['vm'], text: 'alarm(0), and setitimer with zero, after a failed callout' },
  expected: () => ({ verdicts: ['crashed'], why: 'nobody cancels the timer; SIGALRM ends the process' }),
  async run(trial) {
    trial.answered(trial.foreign('int foreign_alarm(int ms)')(100));
    try {
      trial.foreign('void foreign_null_write(void)')();
    } finally {
      await trial.wait(2000);
    }
  },
};
