/**
 * Is a 512-byte register save into the image prevented?
 *
 * Stands for fxsave, and for the structure copies of setjmp and getcontext, through a context that was freed: hundreds
 * of bytes by one instruction. `none`, `flag`: lands. mprotect and keys: faults with nothing stored.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'fxsave of 512 bytes into old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_save_state(uint64_t address)')(trial.addressIn('old', 528) & ~15n);
  },
};
