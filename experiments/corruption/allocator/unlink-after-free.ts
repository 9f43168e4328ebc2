/**
 * Is a host saved whose allocator has aborted: free beside a free block whose links were overwritten?
 *
 * Stands for a stale owner that writes to its block after free, where the links of the free list are now. glibc finds
 * it out ("corrupted double-linked list") and calls abort while it holds its arena's lock. `none`: the process dies,
 * which is honest. Every mechanism with the trap: the abort fails the callout, and the image is equal. The next malloc
 * on this thread waits for ever for the lock: hung in the aftermath. The error's `suspect` is 'allocator': a VM should
 * save what it can without malloc, and restart.
 * Varies: mechanism. Records: the fault, and the step of the aftermath that did not end.
 */
import { type CorruptionCase, expectHang } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'free beside a free block whose links were overwritten',
  timeoutMs: 1500,
  remedy: {
    kinds: ['process', 'nothing'],
    text:
      'Nothing in the same process: its allocator is lost. Another process; or an allocator of the foreign ' +
      "code's own, to be thrown away with it.",
  },
  expected: (setting) => expectHang(setting, "glibc aborts with its arena's lock held; the next malloc waits for ever"),
  run(trial) {
    trial.foreign('void foreign_use_after_free_unlink(void)')();
  },
};
