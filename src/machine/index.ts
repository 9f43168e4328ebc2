// The emulated machine's public face.
export { emulatedCommand, type EmulatedOptions } from './emulated-command.js';
export { MachineError, type MachineErrorCode } from './errors.js';
export type { MachineMode } from './guest.js';
export { cacheFolder } from './host.mjs';
export type { Job, JobFile, JobResult } from './job.js';
export { findKernel, findQemu, projectRoot } from './locate.js';
export { Machine } from './machine.js';
export type { MachineInfo, MachineOptions } from './options.js';
