/** Guarded callouts. */
export { CalloutError, type ImageState, type Suspect } from './error.js';
export type { Access, FaultRecord, Phase, RegisterName } from './record.js';
export { Guard, type FaultListener, type GuardOptions, type Response } from './guard.js';
export { GuardedLibrary, type LoadOptions } from './library.js';
export type { AnyFunction, GuardedFunction, UntypedFunction } from './function.js';
export type { FunctionOptions } from './prototype.js';
export { as, type TypeSpec } from './koffi.js';
export type { Decoder, NumberDecoder } from './decode.js';
