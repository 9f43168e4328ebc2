/**
 * Does another process that shares the memory reach the image?
 *
 * Stands for an image in shared memory that a helper process has mapped too. As second-mapping, but the store is made
 * by a child of the callee's.
 * Varies: mechanism. Records: the child's wait status, bytes changed.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a store by another process that shares a page of old space',
  expected: () => expectRound("the other process's mapping has its own protection"),
  remedy: { kinds: ['vm', 'seal'], text: 'private memory for the image; sealed pages cannot be shared' },
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
    trial.answered(
      trial.foreign('int foreign_fork_write_shared(uint64_t address, uint64_t value)')(
        second + 8n * BigInt(trial.random(512)),
        0x4141414141414141n,
      ),
    );
  },
};
