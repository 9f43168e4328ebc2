/**
 * What becomes of a prevented store when the callee has reset the SIGSEGV handler?
 *
 * Stands for libraries that restore "the default" at their end. The callee sets SIGSEGV to SIG_DFL; the next callout
 * makes a wild store to 'old'.
 * Varies: mechanism. Records: the image at death. The store does not land, but nobody is there to turn its fault into
 * an error.
 */
import { constants } from 'node:os';

import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'SIGSEGV reset to its default, then a store',
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['crashed'], why: 'the store is denied, and its fault has no handler any more' }
      : expectStore(setting),
  remedy: {
    kinds: ['filter'],
    text: 'look at the handlers after each callout into suspicious libraries, or deny rt_sigaction by a filter',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('int foreign_reset_handler(int signal)')(constants.signals.SIGSEGV);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
