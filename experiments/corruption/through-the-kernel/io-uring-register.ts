/**
 * Can the callee register a page of the image as an io_uring buffer?
 *
 * Stands for a library that registers a stale buffer, and reads into it. Registering pins the page for writing, for
 * which the kernel asks the thread's rights.
 * Varies: mechanism. Records: the kernel's answer. Where the kernel has no io_uring, or forbids it, that is the
 * answer.
 */
import { closesImage, type CorruptionCase } from '../../../src/experiment/index.js';
import { readRegistered, withRing } from '../../support/io-uring.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'an io_uring read into a page of old space that the callee registers as a buffer',
  expected(setting) {
    return closesImage(setting.mechanism)
      ? { verdicts: ['refused', 'harmless'], why: 'pages are pinned with the rights of the thread that asks: EFAULT' }
      : { verdicts: ['damaged', 'refused', 'harmless'], why: 'nothing closes the image, if there is io_uring' };
  },
  remedy: { kinds: ['filter'], text: 'a filter of system calls that denies io_uring' },
  refusedBy: 'either',
  run(trial) {
    withRing(trial, false, () => readRegistered(trial, 'foreign'));
  },
};
