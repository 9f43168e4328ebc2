/**
 * What becomes of strtok() on a constant of the library's?
 *
 * Stands for the function that everybody forgets writes: strtok(3) cuts the string that a library returned, which lies
 * in its read-only data.
 * Varies: mechanism. Records: the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'strtok() on a string constant',
  expected: (setting) => expectTrap(setting),
  run(trial) {
    const text = trial.foreign('uintptr_t foreign_greeting(void)')();
    trial.answered(
      trial.library('libc.so.6').func('uintptr_t strtok(uintptr_t text, const char *separators)')(text, ' ') === 0
        ? 0
        : 1,
    );
  },
};
