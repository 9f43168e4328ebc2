/**
 * Does sealing keep writes to /proc/self/mem out of the image?
 *
 * Stands for a debugger or a crash reporter in the process, in a VM that has sealed its heap (mseal(2), Linux 6.10).
 * Sealing is about mappings, not about what is in them.
 * Varies: mechanism, kernel. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './proc-self-mem.js';

export const experiment: CorruptionCase = sealed(
  open,
  () => expectRound('sealing is about mappings: a forced write goes into them as before'),
  open.remedy,
);
