/**
 * Is a plain increment of memory prevented?
 *
 * Stands for a counter in a structure that was freed and reused (Py_INCREF through a stale pointer): one instruction
 * that reads, adds and writes. `none`, `flag`: one byte or more changes. mprotect and keys: faults. With all access
 * denied the read is what faults; the processor reports a write, since the instruction asks for both at once.
 * Varies: mechanism, denial. Records: the fault and the access it tells, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'add $1 to a word of old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_increment(uint64_t address)')(trial.addressIn('old'));
  },
};
