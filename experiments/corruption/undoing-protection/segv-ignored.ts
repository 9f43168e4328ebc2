/**
 * What becomes of a prevented store when the callee's handler ignores it?
 *
 * Stands for a handler that returns, in the hope of better luck. The instruction is repeated, faults again, and so on
 * without end.
 * Varies: mechanism. Records: the time limit; the image when it came.
 */
import { constants } from 'node:os';

import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a SIGSEGV handler of the callee's that returns, then a store",
  timeoutMs: 1000,
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['hung'], why: 'the store is denied again and again' }
      : expectStore(setting),
  remedy: {
    kinds: ['filter'],
    text: 'look at the handlers after each callout into suspicious libraries, or deny rt_sigaction by a filter',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('int foreign_install_handler(int signal)')(constants.signals.SIGSEGV);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
