/**
 * Does mremap(2) move a part of the image away?
 *
 * Stands for a realloc of mapped memory by the wrong address. A page of 'old' goes elsewhere, with its key; a hole
 * stays.
 * Varies: mechanism. Records: how much is not there for the VM any more; under mprotect, see `unmap`.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'mremap(2) of a page of old space to elsewhere',
  expected: () => expectRound('mapping asks for no right to the memory'),
  remedy: { kinds: ['filter', 'seal'], text: 'sealing (mseal, 6.10), or a filter of system calls' },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_move_away(uint64_t address, uint64_t bytes)')(trial.pageIn('old'), 4096),
    );
  },
};
