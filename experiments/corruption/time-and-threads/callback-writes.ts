/**
 * Can a callback write the image in the middle of a callout?
 *
 * Stands for every callback: a comparator that allocates, a progress handler that updates an object. The callback reads
 * 8 bytes of 'old', writes others, and sees them. When the callout has returned, they must be there still, and the
 * callee must have got its result. They are put back.
 * Varies: mechanism. Records: that the write holds.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a callback writes the image, as it may',
  expected: () => ({ verdicts: ['harmless'], why: "a callback has the VM's rights" }),
  run(trial) {
    const offset = 8 * trial.random(trial.space('old').bytes / 8);
    const before = trial.read('old', offset, 8);
    const bytes = Buffer.from('callback');
    const type = trial.callback('int CallbackWrites(int value)');
    const result = trial.foreign(`int foreign_call_back(${type} callback, int value)`)((value: number) => {
      trial.image.space('old').write(offset, bytes);
      return value * 2;
    }, 20);
    const landed = trial.read('old', offset, 8).equals(bytes);
    trial.canary('own write by a callback', () => landed && result === 41);
    trial.image.space('old').write(offset, before);
  },
};
