/**
 * Does mremap(2) put other memory in the place of the image?
 *
 * Stands for the other end of such a move. A page of the callee's, with key 0, over one of 'old'.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "mremap(2) of a page of the callee's over one of old space",
  expected: () => expectRound('mapping asks for no right to the memory'),
  remedy: { kinds: ['filter', 'seal'], text: 'sealing (mseal, 6.10), or a filter of system calls' },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_swap_in(uint64_t address, uint64_t bytes)')(trial.pageIn('old'), 4096),
    );
  },
};
