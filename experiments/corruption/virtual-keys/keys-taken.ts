/**
 * Does somebody who frees all keys and takes them reach an image that has none?
 *
 * Stands for clean-up code that frees keys which are not its own (see free-all-keys), while another owner allocates.
 * A resident image is open to the new owner of its key. An evicted one stays closed: its pages have no key, and their
 * own protection closes them.
 * Varies: mechanism. Records: how many keys the callee got; the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { enterAll, openTenants } from '../../support/tenants.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'pkey_free(2) of every key, pkey_alloc(2) of all there are, then a store to an evicted image',
  expected: (setting) => expectStore(setting),
  run(trial) {
    enterAll(openTenants(trial));
    trial.answered(
      trial.foreign('int64_t foreign_free_all_keys_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
