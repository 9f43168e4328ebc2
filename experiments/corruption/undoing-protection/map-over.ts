/**
 * Does mmap(2) with MAP_FIXED replace a part of the image?
 *
 * Stands for allocators and loaders that map at an address they believe free. A fresh page over one of 'old'; it comes
 * with key 0.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'mmap(2), MAP_FIXED, over a page of old space',
  expected: () => expectRound('mapping asks for no right to the memory'),
  remedy: { kinds: ['filter', 'seal'], text: 'sealing (mseal, 6.10), or a filter of system calls' },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_map_over(uint64_t address, uint64_t bytes)')(trial.pageIn('old'), 4096),
    );
  },
};
