/**
 * Does freeing keys that belong to others open the image?
 *
 * Stands for clean-up code that frees every key there is, or one twice. pkey_free(2) untags nothing. The next
 * pkey_alloc(2) gives the same key again, with rights open for the calling thread. The callee frees keys 1 to 15, takes
 * all there are, and stores 8 bytes to 'old'.
 * Varies: mechanism. Records: how many keys it got, bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pkey_free(2) of every key, pkey_alloc(2) of all there are, then a store',
  expected: (setting) =>
    needsKeys(setting.mechanism)
      ? expectRound('a freed key comes back with its rights open, and the pages still carry it')
      : expectStore(setting),
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies pkey_free' },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_free_all_keys_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
