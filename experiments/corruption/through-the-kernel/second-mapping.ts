/**
 * Does a store through a second mapping of the same memory reach the image?
 *
 * Stands for an image in shared memory (a file mapped twice, a JIT's writable twin of its code). A key belongs to a
 * mapping, not to the memory. The VM has a page of 'old' in shared memory, with its key, and a second mapping of it
 * without one. The callee stores 8 bytes through the second.
 * Varies: mechanism. Records: bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store through a second, unkeyed mapping of a page of old space',
  expected: () => expectRound('protection and key are those of the other mapping'),
  remedy: {
    kinds: ['vm', 'seal'],
    text: 'private memory for the image; no second mapping left in the process. Sealed pages cannot be given one',
  },
  hardened: (harden) =>
    harden === 'seal' || harden === 'all'
      ? { verdicts: ['refused'], why: 'sealed pages are not replaced by a mapping of shared memory, by the VM neither' }
      : undefined,
  run(trial) {
    const page = trial.pageIn('old');
    const second = BigInt(trial.unguarded('int64_t foreign_alias(uint64_t page)')(page) as number);
    if (second < 0n) {
      trial.answered(second);
      return;
    }
    trial.image.reapply();
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      second + 8n * BigInt(trial.random(512)),
      0x4141414141414141n,
    );
  },
};
