/**
 * Can a callee reach the VM's frames by writing above its own return address?
 *
 * Stands for a long overflow: 256 bytes upwards from the return address. On the VM's stack those would be the gate's,
 * the binding's and JavaScript's frames. koffi calls on a stack of its own, the gate on a foreign stack. Above the
 * callee's first frame there is nothing that anybody needs, and the return address itself is spared.
 * Every mechanism: harmless; a gate that called on the VM's stack would not say so.
 * Varies: mechanism. Records: that nothing happened.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '256 bytes above the own return address overwritten',
  expected: () => ({ verdicts: ['harmless'], why: 'nothing that is needed lies above the first frame of the callee' }),
  run(trial) {
    trial.foreign('void foreign_smash_caller(uint64_t bytes, uint8_t value)')(256, 0x41);
  },
};
