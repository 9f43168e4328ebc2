/**
 * Does a store get through while the image is being evicted, or loaded?
 *
 * Stands for two threads of a server. On one, a callee keeps writing through a wild pointer; on the other, the VM
 * enters one tenant after the other. The second thread loads and evicts the trial's image all the time; the callee
 * tries 2,000 stores, which meet every step of that.
 * Varies: mechanism. Records: how many tries failed, how often the image was loaded, the last fault.
 */
import { CalloutError } from '../../../src/callout/index.js';
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { openTenants, startEvictor } from '../../support/tenants.js';

const TRIES = 2000;

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'stores to an image that another thread loads and evicts all the time',
  timeoutMs: 60_000,
  expected: (setting) => expectStore(setting),
  async run(trial) {
    const { own, others } = openTenants(trial);
    const stop = await startEvictor(trial.image, others);
    const store = trial.foreign('void foreign_write64(uint64_t address, uint64_t value)');
    own.enter();
    let last: CalloutError | undefined;
    let failed = 0;
    for (let i = 0; i < TRIES; i++) {
      try {
        store(trial.addressIn('old'), 0x4141414141414141n);
      } catch (error) {
        if (!(error instanceof CalloutError)) throw error;
        failed++;
        last = error;
      }
    }
    trial.note(`${failed} of ${TRIES} stores failed; the image was loaded ${await stop()} times meanwhile`);
    if (last !== undefined && failed === TRIES) throw last;
  },
};
