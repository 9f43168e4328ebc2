/**
 * Does a tenant's own code reach another tenant whose image has no key at that moment?
 *
 * Stands for the same pointer a little later: the other tenant's image was evicted meanwhile, and its key is a third
 * tenant's. Its pages are closed by their own protection then, and the fault is an mprotect's.
 * Varies: mechanism. Records: the fault, without a key; or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { enterAll, openTenants, storeFrom } from '../../support/tenants.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  quick: true,
  summary: "a tenant's own code stores to another tenant's evicted image",
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.image.enter();
    const tenants = openTenants(trial);
    const store = storeFrom(tenants.own, trial.mechanism);
    enterAll(tenants);
    store(trial.addressIn('old'), 0x4141414141414141n);
  },
};
