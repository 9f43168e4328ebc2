/**
 * Does sealing keep mremap(2) from putting other memory in the place of the image?
 *
 * Stands for the other end of such a move, in a VM that has sealed its heap (mseal(2), Linux 6.10). A page of the
 * callee's over one of 'old'.
 * Varies: mechanism, kernel. Records: the kernel's answer.
 */
import { type CorruptionCase, expectSealed, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './swap-in.js';

export const experiment: CorruptionCase = sealed(open, expectSealed);
