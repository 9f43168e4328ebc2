/**
 * Does a thread keep the right to a key that has changed hands?
 *
 * Stands for the known fault of key caches: PKRU belongs to the thread, so a thread that slept keeps the right to a key
 * which is another tenant's when it wakes. This thread was in tenant 0, left it and slept. The trial's image then gets
 * the very key, and the thread's next callee stores there.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { openTenants, startEvictor, storeFrom } from '../../support/tenants.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a thread that slept stores under a key that was its own and is now the victim’s',
  expected: (setting) => expectStore(setting),
  async run(trial) {
    const { own, others } = openTenants(trial);
    const store = storeFrom(own, trial.mechanism);
    own.leave();
    const stop = await startEvictor(trial.image, others); // the keys go round
    await trial.wait(200);
    trial.note(`the image was loaded ${await stop()} times while the thread slept`);
    trial.image.enter();
    trial.image.leave();
    store(trial.addressIn('old'), 0x4141414141414141n);
  },
};
