/**
 * Does a library that uses a key of its own, correctly, open the image?
 *
 * Stands for the honest user of keys: pkey_alloc(2), pkey_set(3) for that key alone. It writes PKRU three times in the
 * callout; then it makes a wild store to 'old'.
 * Varies: mechanism. Records: the key it got, the fault.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a callee that sets the rights of a key of its own, then a store',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_key_of_its_own_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
