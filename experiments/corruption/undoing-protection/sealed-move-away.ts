/**
 * Does sealing keep mremap(2) from moving a part of the image away?
 *
 * Stands for an allocator that grows a block which is not its own, in a VM that has sealed its heap (mseal(2), Linux
 * 6.10). A page of 'old'.
 * Varies: mechanism, kernel. Records: the kernel's answer.
 */
import { type CorruptionCase, expectSealed, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './move-away.js';

export const experiment: CorruptionCase = sealed(open, expectSealed);
