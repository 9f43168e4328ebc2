/**
 * Does anything stop a stray write into another thread's stack?
 *
 * Stands for the pointer to a local that a thread gave away, or a wild one that hits it. Stacks of pthreads lie on key
 * 0. The kernel and the C library write to them with whatever rights the thread has (signal frames, restartable
 * sequences). A denied write of theirs kills the thread.
 * Every mechanism: the other thread's local changes, the image is equal.
 * Varies: mechanism. Records: the local, read by its own thread.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '8 bytes into a local variable of a thread that waits',
  remedy: { kinds: ['process'], text: 'Foreign code in another process, with only what it is lent shared.' },
  expected: () => expectHostDamage('stacks of threads lie on key 0'),
  run(trial) {
    const local = trial.foreign('uint64_t foreign_standing_thread(void)')();
    const end = trial.foreign('uint64_t foreign_standing_thread_end(void)');
    trial.canary('local variable of another thread', () => BigInt(end() as bigint) === 0x5a5a5a5a5a5a5a5an);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(local, 0x4141414141414141n);
  },
};
