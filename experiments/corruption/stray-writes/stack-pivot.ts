/**
 * Is a push prevented when the stack pointer points into the image?
 *
 * Stands for a coroutine switch to a stack that was freed and is the image's now: the very next call writes its return
 * address there. No stack is left to handle a fault on but the alternate one.
 * `none`, `flag`: 8 bytes land in the stack space. mprotect and keys: the push faults. The handler runs on the
 * alternate stack, and the gate returns to the VM's.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { closesImage, type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'one push with the stack pointer in the image',
  expected: (setting) =>
    setting.lane === 'wine' && closesImage(setting.mechanism)
      ? {
          verdicts: ['crashed'],
          why: 'Windows reports an exception on the stack that it happened on, and that is closed',
        }
      : expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_push_on(uint64_t stack_pointer, uint64_t value)')(
      trial.addressIn('stack', 64) + 64n,
      0x4141414141414141n,
    );
  },
};
