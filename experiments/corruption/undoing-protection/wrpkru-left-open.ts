/**
 * Are rights that a callee has opened closed again for the next callout?
 *
 * Stands for a library that writes the whole of PKRU and returns. Its successor, in the next callout, makes a wild
 * store to 'old'.
 * Varies: mechanism. Records: the fault. On its way out, and on the next way in, the gate gives owned keys absolute
 * rights, whatever was there (I2).
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'WRPKRU of 0 in one callout, a store in the next',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.answered(trial.foreign('int64_t foreign_wrpkru(uint32_t pkru)')(0));
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
