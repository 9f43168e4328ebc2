/**
 * Can the callee return from a signal by the VM's own code?
 *
 * Stands for hostile code. The trap's handlers return by a call that is not judged. The callee edits its own signal
 * frame so that it restores PKRU = 0 and returns by that call; then it stores 8 bytes to 'old'.
 * Varies: mechanism, hardening. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';
import { hostileStore, OWN_PROCESS } from '../../support/hostile.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a signal frame with PKRU = 0, returned from by the VM's own code, then a store",
  expected: (setting) =>
    needsKeys(setting.mechanism) ? expectRound('any code may jump to any instruction') : expectStore(setting),
  remedy: OWN_PROCESS,
  run(trial) {
    hostileStore(trial, 'return');
  },
};
