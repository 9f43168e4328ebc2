/**
 * All that an experiment's file imports, but for experiments/support and the library itself.
 */
export type { CostDescription } from '../record/description.js';
export { BUILT, inProject, NATIVE } from '../record/paths.js';
export { randomBelow } from '../record/random.js';
export type { CostRecord, Expectation } from '../record/records.js';
export {
  closesImage,
  GUARD_MECHANISMS,
  type GuardMechanism,
  hasTrap,
  isGuardMechanism,
  type Mechanism,
  needsKeys,
  type Verdict,
} from '../record/words.js';
export type {
  BenchExperiment,
  CorruptionCase,
  CostExperiment,
  CostMeasurement,
  CostParameters,
  CostRow,
  CostSetting,
  CostTrial,
  ForeignFunction,
  ForeignLibrary,
  HonestCase,
  HonestTrial,
  MeasuredExperiment,
  ProgramExperiment,
  Setting,
  Trial,
  TrialLoan,
  TrialSpace,
} from './case.js';
export * from './expectations.js';
export { LUA_HOST, LUA_MECHANISMS, LUA_MISSING, luaIsBuilt } from './lua-host.js';
export { kernelSince, sealed } from './sealed.js';
