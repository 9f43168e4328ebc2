/**
 * Does an unbuffered fread reach the image?
 *
 * Stands for stdio without a buffer, or a count larger than the buffer: fread(3) hands the caller's pointer to read(2).
 * 64 bytes go to an address in 'old'.
 * Varies: mechanism. Records: the errno that fread leaves.
 */
import { type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'unbuffered fread(3) of 64 bytes into old space',
  expected: (setting) => expectCopy(setting),
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_fread_into(uint64_t address, uint64_t bytes)')(trial.addressIn('old', 64), 64),
    );
  },
};
