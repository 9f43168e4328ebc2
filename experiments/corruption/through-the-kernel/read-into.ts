/**
 * Does read(2) fill the image through a wild buffer?
 *
 * Stands for a read into a buffer that is not one: 64 bytes of /dev/zero to an address in 'old'.
 * Varies: mechanism. Records: the kernel's answer. A copy that the kernel makes for a thread honours the thread's PKRU
 * (F5): EFAULT, and no signal.
 */
import { type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'read(2) of 64 bytes into old space',
  quick: true,
  expected: (setting) => expectCopy(setting),
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_read_into(uint64_t address, uint64_t bytes)')(trial.addressIn('old', 64), 64),
    );
  },
};
