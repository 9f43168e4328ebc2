/**
 * Is a VM thread that writes the image disturbed by another thread's callout?
 *
 * Stands for a second interpreter thread or a background collector. A callout of 400 ms runs on the main thread. 100 ms
 * later, a worker that takes part in the image writes 8 bytes to 'old', as VM code does. It must find them there, and
 * puts the old bytes back.
 * Varies: mechanism. Records: how long the write took. Keys are per thread: the worker does not notice. mprotect closes
 * the page to everybody. The innocent thread faults, waits until the callout is over or its patience ends, and goes on.
 * mprotect-naive knows no bystanders: under it the thread dies.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { startVmThread } from '../../support/vm-thread.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a legitimate write by a VM thread while another is in a callout',
  expected: ({ mechanism }) =>
    mechanism === 'mprotect-naive'
      ? {
          verdicts: ['crashed'],
          why: "the innocent thread's fault is in no callout, and nothing waits for the image to open",
        }
      : {
          verdicts: ['harmless'],
          why: mechanism.startsWith('mprotect')
            ? 'the innocent thread faults, waits, and goes on'
            : 'rights are per thread',
        },
  async run(trial) {
    const offset = 8 * trial.random(trial.space('old').bytes / 8);
    const before = trial.read('old', offset, 8);
    const value = 0x5151515151515151n;
    const thread = await startVmThread(trial.image.id, 'old', offset, value);
    const sleep = trial.foreign('void foreign_sleep_ms(int ms)');
    const start = process.hrtime.bigint();
    thread.go(100);
    sleep(400);
    const end = process.hrtime.bigint();
    const wrote = await thread.wrote;
    const ms = (from: bigint, to: bigint): string => (Number(to - from) / 1e6).toFixed(1);
    trial.note(
      `the write began ${ms(start, wrote.before)} ms into a callout of ${ms(start, end)} ms, and took ` +
        `${ms(wrote.before, wrote.after)} ms`,
    );
    const landed = trial.read('old', offset, 8).readBigUInt64LE() === value;
    trial.canary('own write by another thread', () => landed);
    trial.image.space('old').write(offset, before);
  },
};
