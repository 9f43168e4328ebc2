/**
 * Can a callee that has left a signal handler by siglongjmp still read what it may?
 *
 * Stands for libraries that try out whether memory can be read, and then read the caller's. The jump keeps the
 * handler's PKRU, which denies even reading; the trap gives the callout's rights back. The load is from 'old'.
 * Varies: mechanism, denial. Records: whether the value was read, or the fault.
 */
import { type CorruptionCase, expectRead } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a jump out of a handler of its own, then a load',
  remedy: { kinds: ['no-access'], text: 'mechanism pkeys with access denied; what the callee is to read is lent' },
  expected: (setting) => expectRead(setting),
  run(trial) {
    const offset = 8 * trial.random(trial.space('old').bytes / 8);
    const there = trial.read('old', offset, 8).readBigUInt64LE();
    const read = trial.foreign('uint64_t foreign_try_then_read(uint64_t address)')(
      trial.space('old').address + BigInt(offset),
    );
    if (BigInt(read as number | bigint) === there) trial.disclose();
  },
};
