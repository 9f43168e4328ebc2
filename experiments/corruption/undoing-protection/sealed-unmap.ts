/**
 * Does sealing keep munmap(2) from taking a part of the image away?
 *
 * Stands for a double munmap, in a VM that has sealed its heap (mseal(2), Linux 6.10). A page of 'old'.
 * Varies: mechanism, kernel. Records: the kernel's answer. What sealing costs a VM: the heap can neither shrink nor be
 * given back.
 */
import { type CorruptionCase, expectSealed, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './unmap.js';

export const experiment: CorruptionCase = sealed(open, expectSealed);
