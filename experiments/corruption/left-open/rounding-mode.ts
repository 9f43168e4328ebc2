/**
 * Does anything stop a callee from leaving the processor in another rounding mode?
 *
 * Stands for libraries that call fesetround and forget. Not memory at all: a register that the calling convention asks
 * the callee to keep. (What a constructor leaves so is undone: see constructor-registers.)
 * Every mechanism: the VM computes with the wrong rounding from then on. The gate restores these registers after a
 * fault only. On each way out, STMXCSR and LDMXCSR would cost more than all the rest of the gate.
 * Varies: mechanism. Records: whether 1/3 is still the same in JavaScript.
 */
import { type CorruptionCase, expectHostDamage } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'fesetround(FE_UPWARD), never undone',
  libraries: ['libm.so.6'],
  remedy: {
    kinds: ['vm'],
    text:
      'A gate that restores mxcsr and the x87 control word on every return; functions declared to touch them ' +
      'could ask for it.',
  },
  expected: () => expectHostDamage('floating-point control is a register, not memory'),
  run(trial) {
    const divide = (by: number): number => 1 / by;
    const held = divide(10) + divide(3);
    trial.canary('rounding of 1/10 + 1/3', () => divide(10) + divide(3) === held);
    const upward = 0x800; // FE_UPWARD, <fenv.h> on x86-64
    trial.library('libm.so.6').func('int fesetround(int mode)')(upward);
  },
};
