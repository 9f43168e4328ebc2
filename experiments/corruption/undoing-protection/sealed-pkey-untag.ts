/**
 * Does sealing keep pkey_mprotect(2) from opening the image?
 *
 * Stands for a library that knows of keys, in a VM that has sealed its heap (mseal(2), Linux 6.10). The callee asks for
 * key 0 on a page of 'old', and stores there whatever the answer.
 * Varies: mechanism, kernel. Records: the fault, or bytes changed.
 */
import { type CorruptionCase, expectStore, sealed } from '../../../src/experiment/index.js';
import { experiment as open } from './pkey-untag.js';

export const experiment: CorruptionCase = sealed(open, (setting) =>
  expectStore(setting, 'the store needs no change of protection: nothing closes the image'),
);
