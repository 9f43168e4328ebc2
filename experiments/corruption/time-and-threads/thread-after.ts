/**
 * Does a thread that the callee leaves behind reach the image after the callout has returned?
 *
 * Stands for the library whose worker outlives the call that started it, and writes to a buffer that was lent for that
 * call only. The thread stores 8 bytes to 'old' 100 ms after the callout has returned, while the VM runs.
 * Varies: mechanism. Records: the image at death. mprotect is process-wide: when the callout is over, the image is open
 * to every thread. A thread keeps the PKRU it was made with: under keys it stays locked out for life, and its fault
 * ends the process.
 */
import { type CorruptionCase, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store, 100 ms after the callout, from a thread that the callee has left behind',
  remedy: {
    kinds: ['process'],
    text:
      'For the image nothing is needed. For the process: another process, since a fault in no callout has no ' +
      'call to fail.',
  },
  expected: ({ mechanism }) =>
    needsKeys(mechanism)
      ? {
          verdicts: ['crashed'],
          why:
            'the thread was made with the rights denied and keeps them so; its fault is in no callout, and the ' +
            'process ends with its image intact',
        }
      : { verdicts: ['damaged'], why: 'the image is open when no callout is in progress, for every thread' },
  async run(trial) {
    trial.foreign('int foreign_thread_write_after(uint64_t address, uint64_t value, int delay_ms)')(
      trial.addressIn('old'),
      0x4141414141414141n,
      100,
    );
    await trial.wait(400);
  },
};
