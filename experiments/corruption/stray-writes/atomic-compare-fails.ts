/**
 * Does a compare-and-exchange that finds another value count as a write?
 *
 * Stands for a lock word polled in memory that has become the image's. `lock cmpxchg` writes in any case, what it has
 * read if nothing else, and so needs the right to write. `none`, `flag`: nothing changes. mprotect and keys: it faults
 * all the same: a callout fails that would have done no harm. That is the price of deciding by page and right.
 * Varies: mechanism. Records: the fault, or that nothing happened.
 */
import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'lock cmpxchg on a word of old space that holds another value',
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? expectStore(setting)
      : { verdicts: ['harmless'], why: 'the comparison fails, so the word keeps its value' },
  run(trial) {
    const offset = 8 * trial.random(1024);
    const word = trial.read('old', offset, 8).readBigUInt64LE();
    const exchange = trial.foreign('uint64_t foreign_atomic_cas(uint64_t address, uint64_t expected, uint64_t value)');
    exchange(trial.space('old').address + BigInt(offset), BigInt.asUintN(64, ~word), 0x4141414141414141n);
  },
};
