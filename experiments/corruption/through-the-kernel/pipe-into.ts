/**
 * Does pipe(2) store its descriptors in the image?
 *
 * Stands for an array of the wrong address: two ints to an address in 'old'.
 * Varies: mechanism. Records: the kernel's answer; it closes the two descriptors again where it cannot store them.
 */
import { type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pipe2(2) with its array in old space',
  expected: (setting) => expectCopy(setting),
  run(trial) {
    trial.answered(trial.foreign('int64_t foreign_pipe_into(uint64_t address)')(trial.addressIn('old', 8)));
  },
};
