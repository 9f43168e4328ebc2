/**
 * Can the callee register a page of the image as an io_uring buffer?
 *
 * Stands for a library that registers a stale buffer, and reads into it. Registering pins the page for writing, for
 * which the kernel asks the thread's rights.
 * Varies: mechanism. Records: the kernel's answer. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into a page of old space that the callee registers as a buffer',
  expected(setting) {
    return closesImage(setting.mechanism)
      ? { verdicts: ['refused', 'harmless'], why: 'pages are pinned with the rights of the thread that asks: EFAULT' }
      : { verdicts: ['damaged', 'refused', 'harmless'], why: 'nothing closes the image, if there is io_uring' };
  },
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies io_uring' },
  refusedBy: 'either',
  run(trial) {
    const ring = trial.unguarded('int64_t foreign_uring_open(int polled)')(0);
    if (Number(ring) < 0) {
      trial.answered(ring);
      return;
    }
    const at = trial.pageIn('old');
    const registered = trial.foreign('int64_t foreign_uring_register(uint64_t address, uint64_t bytes)')(at, 4096);
    trial.answered(
      Number(registered) < 0
        ? registered
        : trial.foreign('int64_t foreign_uring_read_registered(uint64_t address, uint64_t bytes)')(at, 64),
    );
  },
};
