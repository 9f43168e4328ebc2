/**
 * Can a callback from a foreign thread write the image after the callout has returned?
 *
 * Stands for completion callbacks. A thread of the callee's calls a registered callback 100 ms after the callout has
 * returned. koffi runs the callback on the thread of JavaScript, outside any callout, where it writes 8 bytes to 'old'.
 * They must be there, and are put back.
 * Varies: mechanism. Records: that the write holds. The foreign thread itself was made without rights to the image; it
 * never touches it.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a callback from a foreign thread, after the callout, writes the image, as it may',
  expected: () => ({ verdicts: ['harmless'], why: "the callback runs on the VM's thread, with the VM's rights" }),
  async run(trial) {
    const offset = 8 * trial.random(trial.space('old').bytes / 8);
    const before = trial.read('old', offset, 8);
    const bytes = Buffer.from('callback');
    const called = new Promise<number>((resolve) => {
      const code = trial.register((value: number) => {
        trial.image.space('old').write(offset, bytes);
        resolve(value);
        return 0;
      }, 'int CallbackLater(int value)');
      trial.foreign('void foreign_call_back_later(uintptr_t callback, int value, int delay_ms)')(code, 20, 100);
    });
    const value = await Promise.race([called, trial.wait(1500)]);
    const landed = trial.read('old', offset, 8).equals(bytes);
    trial.canary('own write by a callback', () => landed && value === 20);
    trial.image.space('old').write(offset, before);
  },
};
