/**
 * Is a store still prevented when the callee has dropped the alternate stack?
 *
 * Stands for libraries that disable "their" alternate stack at the end. The handler runs on the foreign stack then,
 * which is as good as long as there is any of it. A wild store to 'old'.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'the alternate stack dropped, then a store',
  expected: (setting) => expectStore(setting),
  refusedBy: 'dispatch',
  run(trial) {
    trial.answered(trial.foreign('int foreign_drop_altstack(void)')());
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
