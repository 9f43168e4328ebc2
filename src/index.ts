/** Turnkey: guarded callouts on an image that protection keys keep safe. The public surface of the package. */
import './platform.js';
export * from './callout/index.js';
export type { ImageErrorCode } from './image/errors.js';
export { ImageError } from './image/errors.js';
export { Image } from './image/image.js';
export type { LoanMode } from './image/loan.js';
export { Loan } from './image/loan.js';
export type { Denial, GuardMechanism, KeyMode } from './image/mechanism.js';
export { DENIALS, GUARD_MECHANISMS, KEY_MODES } from './image/mechanism.js';
export { probe } from './image/probe.js';
export { Space } from './image/space.js';
export type {
  ChangedRange,
  Difference,
  HeapFile,
  HeapObject,
  HeapProblem,
  ImageOptions,
  LendOptions,
  Loaded,
  SpaceRange,
  SpaceReport,
  SpaceRequest,
  VerifyReport,
} from './image/types.js';
export type { VirtualKeyOptions, VirtualKeys, VirtualPolicy } from './image/virtual.js';
export { configureVirtualKeys, VIRTUAL_POLICIES, virtualKeys } from './image/virtual.js';
export type { Probe } from './native.js';
