/**
 * Does a child that the callee forks reach the image?
 *
 * Stands for libraries that fork a helper. The child has a copy of the memory and of PKRU; what it writes is its own.
 * Varies: mechanism. Records: the child's wait status (139 and the like: it died of SIGSEGV).
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a forked child of the callee writes',
  expected: () => ({ verdicts: ['harmless'], why: 'the child writes to its own copy, or dies trying' }),
  run(trial) {
    trial.answered(
      trial.foreign('int foreign_fork_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
