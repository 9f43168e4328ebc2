/**
 * What becomes of a prevented store when the callee has installed a crash reporter?
 *
 * Stands for runtimes and crash reporters that take SIGSEGV and end the process. The callee installs a handler that
 * calls _exit(3); the next callout makes a wild store to 'old'.
 * Varies: mechanism. Records: exit code, the image at death.
 */
import { constants } from 'node:os';

import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a SIGSEGV handler of the callee's that exits, then a store",
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['crashed'], why: "the store is denied, and the callee's handler ends the process" }
      : expectStore(setting),
  remedy: {
    kinds: ['filter'],
    text: 'look at the handlers after each callout into suspicious libraries, or deny rt_sigaction by a filter',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('int foreign_exit_on(int signal)')(constants.signals.SIGSEGV);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
