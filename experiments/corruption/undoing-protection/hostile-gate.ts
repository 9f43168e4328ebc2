/**
 * Can the callee jump to the VM's own WRPKRU?
 *
 * Stands for hostile code. What opens the image for the VM opens it for any code that jumps there. The callee finds the
 * instruction by its bytes, calls it with 0, and stores 8 bytes to 'old'. Varies: mechanism, hardening. Records: bytes
 * changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';
import { hostileStore, OWN_PROCESS } from '../../support/hostile.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a jump to the VM's own WRPKRU, then a store",
  expected: (setting) =>
    needsKeys(setting.mechanism) ? expectRound('any code may jump to any instruction') : expectStore(setting),
  remedy: OWN_PROCESS,
  run(trial) {
    hostileStore(trial, 'gate');
  },
};
