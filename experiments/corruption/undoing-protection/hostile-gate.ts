/**
 * Can the callee jump to the VM's own WRPKRU?
 *
 * Stands for hostile code. What opens the image for the VM opens it for whoever jumps there: the callee finds the
 * instruction by its bytes, calls it with 0, and stores 8 bytes to 'old'.
 * Varies: mechanism, hardening. Records: bytes changed.
 */
import { type CorruptionCase, expectRound, expectStore, needsKeys } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a jump to the VM's own WRPKRU, then a store",
  expected: (setting) =>
    needsKeys(setting.mechanism) ? expectRound('any code may jump to any instruction') : expectStore(setting),
  remedy: {
    kinds: ['process'],
    text: 'a process of its own: in one address space the VM cannot do without the instruction',
  },
  run(trial) {
    trial.answered(
      trial.foreign('int64_t foreign_hostile_gate(uint64_t address, uint64_t value)')(
        trial.addressIn('old'),
        0x4141414141414141n,
      ),
    );
  },
};
