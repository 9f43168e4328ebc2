// The emulated machine's public face.
export { emulatedCommand, type EmulatedOptions } from './emulated-command.js';
export { MachineError, type MachineErrorCode } from './errors.js';
export { cacheFolder } from './host.mjs';
export { findKernel, findQemu, projectRoot } from './locate.js';
export {
  type Job,
  type JobFile,
  type JobResult,
  Machine,
  type MachineInfo,
  type MachineMode,
  type MachineOptions,
} from './machine.js';
