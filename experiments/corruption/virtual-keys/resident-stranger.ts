/**
 * Does a tenant's own code reach another tenant whose image has a key at that moment?
 *
 * Stands for a native extension of one tenant, which may write that tenant's heap, with a pointer into another's. Both
 * images are resident. The callee is called from the first tenant, whose image is open to it (`inside`), and stores 8
 * bytes to the trial's image.
 * Varies: mechanism. Records: the fault and its key, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { openTenants, storeFrom } from '../../support/tenants.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a tenant's own code stores to another tenant's resident image",
  expected: (setting) => expectStore(setting),
  run(trial) {
    const { own } = openTenants(trial, 0);
    const store = storeFrom(own, trial.mechanism);
    trial.image.enter();
    own.enter();
    store(trial.addressIn('old'), 0x4141414141414141n);
  },
};
