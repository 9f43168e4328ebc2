/**
 * Can foreign code read the image through a wild pointer?
 *
 * Stands for the library that hashes, prints or sends what a stale pointer points at.
 * `none`, `flag`, and everything that denies writes only: the word is read. With all access denied (PKRU's AD bit,
 * PROT_NONE): it faults.
 * Denying reads costs the callee its legitimate reads of the image as well: what it may read must then be lent.
 * Varies: mechanism, denial. Records: the fault, or that the word came back.
 */
import { type CorruptionCase, expectRead } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'one 8-byte load through a wild pointer into old space',
  quick: true,
  remedy: { kinds: ['no-access'], text: 'Deny all access, not only writes, and lend what the callee is to read.' },
  expected: expectRead,
  run(trial) {
    const offset = 8 * trial.random(1024);
    const word = trial.read('old', offset, 8).readBigUInt64LE();
    const got = trial.foreign('uint64_t foreign_read64(uint64_t address)')(trial.space('old').address + BigInt(offset));
    if (BigInt(got as bigint) === word) trial.disclose();
  },
};
