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
  remedy: { kinds: ['vm'], text: 'private memory for the image' },
  run(trial) {
    const page = trial.pageIn('old');
    const second = BigInt(trial.unguarded('int64_t foreign_alias(uint64_t page)')(page) as number);
    trial.image.reapply();
    trial.answered(
      trial.foreign('int foreign_fork_write_shared(uint64_t address, uint64_t value)')(
        second + 8n * BigInt(trial.random(512)),
        0x4141414141414141n,
      ),
    );
  },
};
