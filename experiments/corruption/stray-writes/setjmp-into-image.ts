/**
 * Is a jump buffer that lies in the image written?
 *
 * Stands for the binding that allocates a library's jmp_buf (libpng and libjpeg want one) among its objects, without
 * lending it. `none`, `flag`: eight registers land in the object. mprotect and keys: setjmp itself faults, in the C
 * library.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'setjmp with its buffer in eden',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('int64_t foreign_setjmp_into(uint64_t address)')(trial.addressIn('eden', 256));
  },
};
