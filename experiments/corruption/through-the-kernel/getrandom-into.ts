/**
 * Does getrandom(2) fill the image through a wild buffer?
 *
 * Stands for a key or nonce written to a stale pointer: 64 random bytes to an address in 'old'.
 * Varies: mechanism. Records: the kernel's answer.
 */
import { type CorruptionCase, expectCopy } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'getrandom(2) of 64 bytes into old space',
  expected: (setting) => expectCopy(setting),
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_getrandom_into(uint64_t address, uint64_t bytes)')(trial.addressIn('old', 64), 64),
    );
  },
};
