/**
 * Does userfaultfd(2) put a page of the callee's into the image?
 *
 * Stands for snapshot and migration libraries let loose on the wrong range. The callee drops a page of 'old'
 * (MADV_DONTNEED) and resolves the missing page with its own bytes (UFFDIO_COPY). The kernel maps them without asking
 * for rights.
 * Varies: mechanism. Records: the kernel's answer.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a page of old space dropped and filled through userfaultfd(2)',
  expected: () => expectRound('dropping a page and filling a missing one ask for no key'),
  remedy: {
    kinds: ['filter', 'seal'],
    text: 'sealing (mseal, 6.10) while the key denies writes, against MADV_DONTNEED; a filter of system calls',
  },
  refusedBy: 'either',
  run(trial) {
    trial.answered(trial.foreign('int64_t foreign_userfault_fill(uint64_t page)')(trial.pageIn('old')));
  },
};
