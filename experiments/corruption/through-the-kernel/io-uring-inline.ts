/**
 * Does an io_uring read that needs no worker reach the image?
 *
 * Stands for asynchronous I/O with a stale buffer, on a ring that the VM has had for long. The data is there at
 * once, so that the kernel copies it in io_uring_enter(2) itself, for the callee's thread.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import { closesImage, type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';
import { withRing } from '../../support/io-uring.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space, made in the call itself',
  expected(setting) {
    const copy = expectCopy(setting);
    return closesImage(setting.mechanism)
      ? { verdicts: ['refused'], why: `${copy.why}; the read is made by the thread that asks for it` }
      : { verdicts: ['damaged', 'refused', 'harmless'], why: `${copy.why}, if there is io_uring` };
  },
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies io_uring' },
  refusedBy: 'either',
  run(trial) {
    const read = trial.foreign('int64_t foreign_uring_read_inline(uint64_t address, uint64_t bytes)');
    withRing(trial, false, () => read(trial.addressIn('old', 64), 64));
  },
};
