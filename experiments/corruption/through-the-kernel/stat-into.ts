/**
 * Does a structure that the kernel fills reach the image?
 *
 * Stands for a struct stat that is too small, or not there: fstat(2) stores 144 bytes at an address in 'old'.
 * Varies: mechanism. Records: the kernel's answer.
 */
import { type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'fstat(2) into old space',
  expected: (setting) => expectCopy(setting),
  run(trial) {
    trial.answered(trial.foreign('int64_t foreign_stat_into(uint64_t address)')(trial.addressIn('old', 144)));
  },
};
