/**
 * Does loading a library change how the VM computes, or which signals it hears?
 *
 * Stands for libraries built with -ffast-math, whose constructor (crtfastm.c) flushes denormals to zero for the whole
 * thread; this one blocks all signals too. `none`: JavaScript computes differently from then on. Every mechanism with
 * the trap: loading gives the floating-point control registers and the mask back.
 * Varies: mechanism. Records: a denormal in JavaScript, and the mask.
 */
import { BUILT, type CorruptionCase, expectHostDamage, hasTrap, inProject } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a constructor flushes denormals to zero and blocks signals',
  expected: ({ mechanism }) =>
    hasTrap(mechanism)
      ? { verdicts: ['harmless'], why: 'loading gives both back' }
      : expectHostDamage('nothing gives them back'),
  run(trial) {
    const blocked = trial.unguarded('uint64_t foreign_blocked_signals(void)');
    const before = blocked();
    const half = (value: number): number => value / 2;
    trial.canary('denormals', () => half(2.2250738585072014e-308) > 0);
    trial.canary('signal mask', () => blocked() === before);
    process.env['TURNKEY_FOREIGN_CTOR'] = 'registers';
    trial.library(inProject(BUILT.foreignConstructor));
  },
};
