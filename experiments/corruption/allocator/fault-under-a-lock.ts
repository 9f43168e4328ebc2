/**
 * Is a host saved when the prevented store was made under a lock?
 *
 * Stands for every write that a mechanism stops in the middle of a library: localtime_r fills its result under the C
 * library's time zone lock. Its structure, 36 of 56 bytes long in an old binding (glibc's struct tm has two fields more
 * than the standard's), lies in front of the image. `none`, `flag`: the two fields land in eden, silently. mprotect and
 * keys: the store is stopped, the image is equal, and the lock is held for ever. The next localtime_r, here in the same
 * trial, hangs. Prevention turns a silent write into a fault at an instruction that was never meant to fail.
 * Varies: mechanism. Records: the stage that did not end.
 */
import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'localtime_r into a structure of 36 bytes, then once more into one of 56',
  timeoutMs: 1500,
  remedy: {
    kinds: ['process'],
    text: 'Another process; within one, a VM can only ask the error for its `suspect` and restart.',
  },
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['hung'], why: 'the fault leaves the time zone lock held' }
      : expectStore(setting),
  run(trial) {
    const short = trial.neighbour(36);
    const localTime = trial.foreign('void foreign_local_time(uintptr_t result, int64_t when)');
    try {
      localTime(short.address, 0);
    } finally {
      trial.foreign('void foreign_local_time(uint8_t *result, int64_t when)')(Buffer.alloc(56), 0);
    }
  },
};
