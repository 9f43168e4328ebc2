/**
 * Does a store into the code space, where a VM keeps its compiled methods, go through?
 *
 * Stands for the worst stray write of all. The 4 bytes of a call's displacement or of an inline cache change, and the
 * VM later runs whatever they say. A just-in-time compiler's pages are writable in many VMs (Cog's code zone is one),
 * so that a wild pointer can hit them. `none`, `flag`: lands. mprotect and keys: faults. Keys would not stop the
 * damaged code from being run: they never check an instruction fetch.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a 4-byte store into a compiled method in the code space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const write = trial.foreign('void foreign_write32(uint64_t address, uint32_t value)');
    write(trial.addressIn('code') + 1n, 0x00c0ffee); // the displacement after a call's opcode
  },
};
