/**
 * Does a thread that a tenant's callee starts reach another tenant?
 *
 * Stands for a library that works in a thread of its own. The thread has its maker's PKRU, and so no right to any image
 * with a virtual key. Its fault is in no callout, so the process ends.
 * Varies: mechanism. Records: who faulted; the image at death.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';
import { openTenants } from '../../support/tenants.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a thread of the callee's stores to the image of another tenant",
  expected: ({ mechanism }) =>
    closesImage(mechanism)
      ? { verdicts: ['crashed'], why: 'the image is closed to the thread, and its fault is in no callout' }
      : { verdicts: ['damaged'], why: 'nothing closes the image' },
  remedy: { kinds: ['process'], text: 'For the image nothing is needed; for the process, another process.' },
  run(trial) {
    trial.image.enter();
    openTenants(trial, 0).own.enter();
    trial.answered(
      trial.foreign('int foreign_thread_write_during(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
