/**
 * Does an io_uring worker that was made before the callout reach the image?
 *
 * Stands for a ring of the VM's with work in flight. The kernel keeps the worker thread for some seconds, with the
 * rights of the VM's thread that it was made for. In a guarded callout the callee queues a read of 64 bytes into 'old',
 * and the old worker takes it. Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring,
 * or forbids it, that is the answer.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { expectEarlierRights, withRing } from '../../support/io-uring.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space by a worker made earlier',
  expected: expectEarlierRights('the worker has the rights of the time when it was made, if there is io_uring'),
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies io_uring' },
  refusedBy: 'either',
  run(trial) {
    withRing(trial, false, () => {
      trial.unguarded('int64_t foreign_uring_start_worker(void)')();
      const read = trial.foreign('int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes)');
      return read(trial.addressIn('old', 64), 64);
    });
  },
};
