/**
 * Does anything stop a callee that waits for what never comes?
 *
 * Stands for a read from a socket without a timeout, a lock taken twice.
 * Every mechanism: hung in the kernel, with the event loop.
 * Varies: mechanism. Records: that the time limit was reached in the callout, and the image at death.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pause() without end',
  timeoutMs: 1500,
  remedy: {
    kinds: ['process'],
    text: 'An asynchronous callout (the event loop goes on), a watchdog, another process.',
  },
  expected: () => ({ verdicts: ['hung'], why: 'no fault is raised' }),
  run(trial) {
    trial.foreign('void foreign_sleep_forever(void)')();
  },
};
