/**
 * Does a function called with one argument too few write through what the register happened to hold?
 *
 * Stands for a binding that forgot the out-parameter, or C without a prototype. The callee takes its third argument
 * from rdx, where the caller's last computation left a pointer to an object.
 * `none`, `flag`: the sum is stored into that object. mprotect and keys: the store faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a function of three parameters called with two; the third register points into old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const call = trial.foreign('int foreign_call_with_two(int a, int b, uint64_t left_over)');
    call(20, 22, trial.addressIn('old'));
  },
};
