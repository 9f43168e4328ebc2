/**
 * Does an io_uring worker made before the callout reach the image?
 *
 * Stands for a ring that the VM, or a library that was initialised past the guard, has had for long. Its polling thread
 * in the kernel was made with the VM's rights. In a guarded callout the callee queues a read of 64 bytes into 'old'.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { expectEarlierRights, withRing } from '../../support/io-uring.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space by a polling thread made earlier',
  expected: expectEarlierRights('the worker has the rights of the time when it was made, if there is io_uring'),
  remedy: {
    kinds: ['vm'],
    text: 'no polled ring in a process that makes callouts; a filter fails the callout, but too late',
  },
  hardened: (harden) =>
    harden === 'seal'
      ? undefined
      : { verdicts: ['damaged', 'refused', 'harmless'], why: 'the polling thread has begun before the call is judged' },
  run(trial) {
    const read = trial.foreign('int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes)');
    withRing(trial, true, () => read(trial.addressIn('old', 64), 64));
  },
};
