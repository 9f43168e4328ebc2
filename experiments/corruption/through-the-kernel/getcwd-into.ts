/**
 * Does an out-parameter of a system call reach the image?
 *
 * Stands for every call that fills a caller's buffer: getcwd(2) with an address in 'old'.
 * Varies: mechanism. Records: the kernel's answer.
 */
import { type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'getcwd(2) into old space',
  expected: (setting) => expectCopy(setting),
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_getcwd_into(uint64_t address, uint64_t bytes)')(
        trial.addressIn('old', 4096),
        4096,
      ),
    );
  },
};
