/**
 * Does sealing keep mmap(2) with MAP_FIXED from replacing a part of the image?
 *
 * Stands for a library that maps at an address that it computed, in a VM that has sealed its heap (mseal(2), Linux
 * 6.10). A page of 'old'.
 * Varies: mechanism, kernel. Records: the kernel's answer.
 */
import { type CorruptionCase, expectSealed, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './map-over.js';

export const experiment: CorruptionCase = sealed(open, expectSealed);
