/**
 * Does an io_uring worker made in the callout reach the image?
 *
 * Stands for asynchronous I/O with a stale buffer. The callee sets up a ring and has a worker of the kernel's read 64
 * bytes into 'old'. A worker has the PKRU of the thread that made it, as it was then: denied.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import { closesImage, type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into old space by a worker made in the callout',
  expected(setting) {
    const copy = expectCopy(setting);
    return closesImage(setting.mechanism)
      ? { verdicts: ['refused'], why: `${copy.why}; a worker has its maker's rights` }
      : { verdicts: ['damaged', 'refused', 'harmless'], why: `${copy.why}, if there is io_uring` };
  },
  refusedBy: 'either',
  run(trial) {
    const ring = trial.foreign('int64_t foreign_uring_open(int polled)')(0);
    trial.answered(
      Number(ring) < 0
        ? ring
        : trial.foreign('int64_t foreign_uring_read_into(uint64_t address, uint64_t bytes)')(
            trial.addressIn('old', 64),
            64,
          ),
    );
  },
};
