/**
 * What becomes of a prevented store when the callee's handler steps over it?
 *
 * Stands for emulators and managed runtimes in libraries, whose SIGSEGV handler advances the program counter. The
 * callout goes on without its store, and nobody is told. (Seen once, and worse: VM threads that are older than a key
 * get their rights from the trap's handler. Where the VM has any, they are stepped over as well, in their own code.)
 * Varies: mechanism. Records: the image.
 */
import { constants } from 'node:os';

import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a SIGSEGV handler of the callee's that steps over the store",
  expected: (setting) =>
    closesImage(setting.mechanism)
      ? { verdicts: ['harmless'], why: 'the store never lands, and the callee goes on as if it had' }
      : expectStore(setting),
  remedy: {
    kinds: ['filter'],
    text: 'look at the handlers after each callout into suspicious libraries, or deny rt_sigaction by a filter',
  },
  refusedBy: 'dispatch',
  run(trial) {
    trial.foreign('int foreign_skip_on(int signal)')(constants.signals.SIGSEGV);
    trial.foreign('void foreign_store3(uint64_t address, uint64_t value)')(trial.addressIn('old'), 0x4141414141414141n);
  },
};
