/**
 * Does a negative length that became a huge size_t run through the image?
 *
 * Stands for `memset(field + used, ' ', room - used)` with used > room, and all its relatives: a subtraction in int, a
 * parameter of type size_t. CVE-2019-3855 to -3863 in libssh2 are of this kind. The length is 2^64 - 4.
 * `none`: eden is overwritten from end to end, then a guard page ends the process. `flag`: the same, told after the
 * fact. mprotect and keys: stopped at eden's first byte.
 * Varies: mechanism. Records: where the fault was, how much was overwritten.
 */
import { type CorruptionCase, expectSmash } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'memset with a length of -4 from a field 4 bytes before the image',
  expected: expectSmash,
  run(trial) {
    const field = trial.neighbour(64);
    const pad = trial.foreign('void foreign_pad_field(uint64_t field, int room, int used)');
    pad(field.address, 56, 60);
  },
};
