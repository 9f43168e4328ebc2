/**
 * Does a call that never enters the kernel reach the image?
 *
 * Stands for a struct timespec at a stale pointer. clock_gettime(3) looks like a system call, but its code is the
 * kernel's page in this process (the vDSO). It stores as the callee does: 16 bytes to an address in 'old'.
 * Varies: mechanism. Records: the fault, whose pc is in no file.
 */
import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'clock_gettime(3) through the vDSO into old space',
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? {
          verdicts: ['prevented', 'refused'],
          why:
            "the vDSO stores like the callee; where the machine's clock cannot be read from there it makes the " +
            'system call, and the kernel refuses',
        }
      : expectStore(setting),
  run(trial) {
    trial.answered(trial.foreign('int64_t foreign_clock_into(uint64_t address)')(trial.addressIn('old', 16)));
  },
};
