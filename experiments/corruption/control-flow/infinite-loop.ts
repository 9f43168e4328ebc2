/**
 * Does anything stop a callee that never returns?
 *
 * Stands for a parser that does not advance. No fault is ever raised.
 * Every mechanism: hung. Interrupting it would need a timer whose signal fails the callout, with all that a callee
 * interrupted anywhere leaves behind.
 * Varies: mechanism. Records: that the time limit was reached in the callout, and the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a loop without end',
  timeoutMs: 1500,
  remedy: { kinds: ['process'], text: 'A watchdog, and another process to be killed by it.' },
  expected: () => ({ verdicts: ['hung'], why: 'no fault is raised' }),
  run(trial) {
    trial.foreign('void foreign_spin(void)')();
  },
};
