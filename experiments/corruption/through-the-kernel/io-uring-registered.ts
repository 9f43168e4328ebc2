/**
 * Does an io_uring read into a registered buffer reach the image?
 *
 * Stands for a VM that has registered pages of its heap for fast I/O. Such pages are pinned, and written by the
 * kernel's own mapping: neither keys nor protections are asked. In a guarded callout the callee queues a read into
 * the buffer.
 * Varies: mechanism. Records: the completion's result. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { readRegistered, withRing } from '../../support/io-uring.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into a page of old space that the VM has registered as a buffer',
  expected: () => ({
    verdicts: ['damaged', 'refused', 'harmless'],
    why: "registered pages are written through the kernel's own mapping, if there is io_uring",
  }),
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies io_uring' },
  refusedBy: 'either',
  run(trial) {
    withRing(trial, false, () => readRegistered(trial, 'unguarded'));
  },
};
