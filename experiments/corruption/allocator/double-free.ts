/**
 * Is a host saved whose allocator has aborted: free of a block that is free already?
 *
 * Stands for an error path and the normal path both free. glibc finds it out ("double free or corruption") and calls
 * abort while it holds its arena's lock. `none`: the process dies, which is honest. Every mechanism with the trap: the
 * abort fails the callout, and the image is equal. The next malloc on this thread waits for ever for the lock: hung in
 * the aftermath. The error's `suspect` is 'allocator': a VM should save what it can without malloc, and restart.
 * Varies: mechanism. Records: the fault, and the step of the aftermath that did not end.
 */
import { type CorruptionCase, expectHang } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'free of a block that is free already',
  timeoutMs: 1500,
  remedy: {
    kinds: ['process', 'nothing'],
    text:
      'Nothing in the same process: its allocator is lost. Another process; or an allocator of the foreign ' +
      "code's own, to be thrown away with it.",
  },
  expected: (setting) => expectHang(setting, "glibc aborts with its arena's lock held; the next malloc waits for ever"),
  run(trial) {
    trial.foreign('void foreign_double_free(void)')();
  },
};
