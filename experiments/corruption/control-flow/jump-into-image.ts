/**
 * Do keys stop the image from being executed?
 *
 * Stands for a function pointer that was overwritten with the address of an object. Keys are never checked at an
 * instruction fetch, whatever they deny; what stops it here is that the pages are not executable. `none`: the process
 * dies. Every mechanism with the trap: trapped, by the NX bit: si_code is SEGV_ACCERR, access 'execute', under keys
 * too. A VM whose code space must be executable gets no help from keys against this.
 * Varies: mechanism, denial. Records: the fault's code.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a call to an address in the code space',
  remedy: {
    kinds: ['vm'],
    text: "Pages that are not executable; for a just-in-time compiler's, control-flow integrity (IBT, shadow stacks).",
  },
  expected: expectTrap,
  run(trial) {
    trial.foreign('int foreign_call(uint64_t address)')(trial.addressIn('code'));
  },
};
