/**
 * Is a vector store whose lanes in the image are all masked off left in peace?
 *
 * Stands for vectorised loops whose last store covers memory past the array and is masked there: correct code, which
 * must not be stopped. `vmaskmovps` with an all-zero mask, 32 bytes, all of them in old space.
 * Every mechanism: no byte is stored and no fault is raised. If one were, keys would fail honest callouts.
 * Varies: mechanism. Records: that nothing happened.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'vmaskmovps into old space with every lane masked off',
  expected: () => ({ verdicts: ['harmless'], why: 'masked lanes are not accessed (SDM vol. 2, VMASKMOV)' }),
  run(trial) {
    trial.answered(trial.foreign('int foreign_masked_store(uint64_t address)')(trial.addressIn('old', 32)));
  },
};
