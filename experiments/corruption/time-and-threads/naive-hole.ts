/**
 * Does one thread's returning callout open the image under another thread's?
 *
 * Stands for the first thing anyone writes: mprotect before the call, mprotect after it, each callout for itself. Two
 * threads are in callouts. The first returns after 100 ms and opens the pages; the other's callee makes its wild store
 * after 500 ms.
 * Varies: mechanism. Records: the fault or its absence. Counting the callouts (mprotect-page, mprotect-range) closes
 * the hole; PKRU, being the thread's own, never had it.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a wild store in a callout after another thread's callout has returned",
  expected: (setting) =>
    setting.mechanism === 'mprotect-naive'
      ? { verdicts: ['damaged'], why: 'the first callout to return opens the pages for all' }
      : expectStore(setting),
  remedy: { kinds: ['keys'], text: 'count the callouts in progress, as mprotect-range does; or keys' },
  async run(trial) {
    const sleep = trial.foreign('void foreign_sleep_ms(int ms)');
    const other = new Promise((resolve) => {
      (sleep as unknown as { async(ms: number, done: (error: unknown) => void): void }).async(100, resolve);
    });
    try {
      trial.foreign('void foreign_sleep_then_write64(int ms, uint64_t address, uint64_t value)')(
        500,
        trial.addressIn('old'),
        0x4141414141414141n,
      );
    } finally {
      await other;
    }
  },
};
