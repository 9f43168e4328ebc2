/**
 * Does madvise(2) with MADV_DONTNEED empty a part of the image?
 *
 * Stands for an allocator that gives back a page too many. The page of 'old' reads as zeros then; it keeps its key.
 * Varies: mechanism. Records: bytes changed. No right to write is asked for.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'madvise(2), MADV_DONTNEED, on a page of old space',
  expected: () => expectRound('dropping contents asks for no right to write'),
  remedy: {
    kinds: ['filter', 'seal'],
    text: 'sealing (mseal, 6.10), which refuses MADV_DONTNEED while the key denies writes; or a filter of system calls',
  },
  refusedBy: 'either',
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_discard(uint64_t address, uint64_t bytes)')(trial.pageIn('old'), 4096),
    );
  },
};
