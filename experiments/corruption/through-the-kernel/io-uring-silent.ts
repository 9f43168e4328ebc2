/**
 * Does a polled io_uring reach the image without any system call?
 *
 * Stands for a ring of the VM's that a thread of the kernel's polls. The callee stores a request into the ring's
 * memory, and looks at the result there. It makes no call that anybody could judge.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { expectEarlierRights, withRing } from '../../support/io-uring.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space by a polling thread, asked for by stores alone',
  expected: expectEarlierRights(
    'the polling thread has the rights of the time when it was made, and is asked by no system call',
  ),
  remedy: {
    kinds: ['vm'],
    text: 'no polled ring in a process that makes callouts: a filter of system calls sees nothing',
  },
  run(trial) {
    withRing(trial, true, () => {
      trial.unguarded('int64_t foreign_uring_start_worker(void)')(); // the polling thread is awake from now on
      const read = trial.foreign('int64_t foreign_uring_read_silently(uint64_t address, uint64_t bytes, int wait_ms)');
      return read(trial.addressIn('old', 64), 64, 1000);
    });
  },
};
