/**
 * Does memcpy into a local array, with a text too long for it, run up the stack and on into the image?
 *
 * Stands for the textbook stack overflow: a record copied by the length that its header claims (Heartbleed's mirror
 * image; CVE-2021-3156 copies past a heap block so). The stack is one of C's own (a coroutine's, a thread's with a
 * hand-made stack) that ends where the image begins. The saved registers and the return address lie between the
 * array and the image, so they go first. `none`: the bytes land, then the return to 0x4141414141414141 ends the
 * process. `flag`: they land, and the return fails the callout: too late. mprotect and keys: the first byte of eden
 * faults before the return is tried. Recovery needs nothing of the smashed stack.
 * Varies: mechanism. Records: the fault, or the bytes changed and the fault that followed.
 */
import { type CorruptionCase, expectSmash } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'memcpy of 400 bytes into a 32-byte local array on a C stack that ends at the image',
  expected: expectSmash,
  run(trial) {
    const stack = trial.neighbour(32768);
    const call = trial.foreign('uint64_t foreign_stack_memcpy(uint64_t base, uint64_t bytes, uint64_t length)');
    call(stack.address, stack.bytes, 400);
  },
};
