/**
 * Is abort() in the callee survived?
 *
 * Stands for assert, for GLib's g_error, for Rust's panic with panic=abort: the library has decided for the whole
 * process that it should end. `none`: it does. Every mechanism with the trap: the callout fails. What the library knew
 * to be broken still is.
 * Varies: mechanism. Records: the signal.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'abort()',
  expected: expectTrap,
  run(trial) {
    trial.foreign('void foreign_abort(void)')();
  },
};
