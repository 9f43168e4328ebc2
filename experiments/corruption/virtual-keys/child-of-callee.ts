/**
 * Does a child that a tenant's callee forks reach another tenant?
 *
 * Stands for libraries that fork a helper. The child has a copy of all images, with the keys and the closed pages of
 * the moment; what it writes is its own.
 * Varies: mechanism. Records: the child's wait status (139: it died of SIGSEGV).
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';
import { openTenants } from '../../support/tenants.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a forked child of the callee's stores to the image of another tenant",
  expected: () => ({ verdicts: ['harmless'], why: 'the child writes to its own copy, or dies trying' }),
  run(trial) {
    openTenants(trial, 0).own.enter();
    trial.answered(
      trial.foreign('int foreign_fork_write(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
