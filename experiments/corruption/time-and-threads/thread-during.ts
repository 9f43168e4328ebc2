/**
 * Does a thread that the callee starts reach the image while the callout is in progress?
 *
 * Stands for a library that does its work in a thread of its own (an encoder, a resolver) and got a wild pointer. The
 * callee starts a thread, which makes one 8-byte store to 'old', and joins it before it returns.
 * Varies: mechanism. Records: who faulted; the image at death. Under keys the new thread has its maker's PKRU; under
 * mprotect the page is read-only for it too. Either way the store does not land. But the thread is in no callout and
 * was never attached to the VM, so its fault ends the process.
 */
import { closesImage, type CorruptionCase, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store from a thread that the callee starts and joins',
  expected: ({ mechanism }) =>
    closesImage(mechanism)
      ? {
          verdicts: ['crashed'],
          why:
            (needsKeys(mechanism) ? 'the thread inherits the denial' : 'the page is read-only for this thread too') +
            ', and its fault is in no callout: the process ends, its image intact',
        }
      : { verdicts: ['damaged'], why: 'nothing closes the image' },
  remedy: {
    kinds: ['process'],
    text:
      'For the image nothing is needed. For the process: another process, since a fault in no callout has no ' +
      'call to fail.',
  },
  run(trial) {
    trial.answered(
      trial.foreign('int foreign_thread_write_during(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
