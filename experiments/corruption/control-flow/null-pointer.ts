/**
 * Does a null pointer in the callee fail the callout and nothing else?
 *
 * Stands for the most common crash of all: a handle that was never opened, a result that was not checked. One write to
 * address 0.
 * Varies: mechanism. Records: the fault, and that the VM goes on.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a write through a null pointer',
  quick: 'everywhere',
  expected: (setting) => expectTrap(setting),
  run(trial) {
    trial.foreign('void foreign_null_write(void)')();
  },
};
