/**
 * Can the callee make system calls from the VM's own place?
 *
 * Stands for hostile code. The trap's own calls are told by their address. The callee jumps there with the registers
 * of process_vm_writev(2).
 * Varies: mechanism, hardening. Records: the kernel's answer, bytes changed.
 */
import { type CorruptionCase, expectCopy, expectRound, needsKeys } from '../../../src/experiment/index.js';
import { hostileStore, OWN_PROCESS } from '../../support/hostile.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "process_vm_writev(2) by a jump to the VM's own SYSCALL",
  expected: (setting) =>
    needsKeys(setting.mechanism) ? expectRound('any code may jump to any instruction') : expectCopy(setting),
  remedy: OWN_PROCESS,
  run(trial) {
    hostileStore(trial, 'call');
  },
};
