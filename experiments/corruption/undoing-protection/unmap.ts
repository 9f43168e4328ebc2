/**
 * Does munmap(2) take a part of the image away?
 *
 * Stands for a double munmap: the second one hits what has been mapped there since. A page of 'old'.
 * Varies: mechanism. Records: how much is not there for the VM any more. Under mprotect that is more than a page:
 * opening stops at the hole, and what lies behind it stays closed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'munmap(2) of a page of old space',
  expected: () => expectRound('mapping asks for no right to the memory'),
  remedy: { kinds: ['filter', 'seal'], text: 'sealing (mseal, 6.10), or a filter of system calls' },
  refusedBy: 'either',
  run(trial) {
    trial.answered(trial.foreign('int64_t foreign_unmap(uint64_t address, uint64_t bytes)')(trial.pageIn('old'), 4096));
  },
};
