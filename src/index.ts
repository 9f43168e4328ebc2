/** Turnkey: guarded callouts on an image that protection keys keep safe. The public surface of the package. */
export * from './callout/index.js';
export { Image, Space } from './image/image.js';
export type {
  ChangedRange,
  Denial,
  Difference,
  HeapFile,
  HeapObject,
  HeapProblem,
  ImageMechanism,
  ImageOptions,
  LendOptions,
  Loaded,
  SpaceRange,
  SpaceReport,
  SpaceRequest,
  VerifyReport,
} from './image/image.js';
export { Loan } from './image/loan.js';
export type { LoanMode } from './image/loan.js';
export { ImageError } from './image/errors.js';
export type { ImageErrorCode } from './image/errors.js';
export { probe } from './image/probe.js';
export type { Probe } from './native.js';
