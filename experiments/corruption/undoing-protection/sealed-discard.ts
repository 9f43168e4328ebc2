/**
 * Does sealing keep madvise(2) from emptying a part of the image?
 *
 * Stands for an allocator that gives back a page too many, in a VM that has sealed its heap (mseal(2), Linux 6.10).
 * Sealing refuses what discards contents only where this thread may not write them anyway: by the page's protection, or
 * by its key.
 * Varies: mechanism, kernel. Records: the kernel's answer, bytes changed.
 */
import { type CorruptionCase, expectRound, needsKeys, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './discard.js';

export const experiment: CorruptionCase = sealed(open, ({ mechanism }) =>
  needsKeys(mechanism)
    ? { verdicts: ['refused'], why: 'a sealed mapping is not emptied by a thread whose key denies writing it: EPERM' }
    : expectRound('sealing lets those who may write a page empty it'),
);
