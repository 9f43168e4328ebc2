/** Guarded callouts. */
export type { RightsInstruction } from '../scan/index.js';
export type { Decoder, NumberDecoder } from './decode.js';
export { CalloutError, type ImageState, type Suspect } from './error.js';
export type { AnyFunction, GuardedFunction, UntypedFunction } from './function.js';
export { type FaultListener, Guard, type GuardOptions } from './guard.js';
export type { FilterOptions, Hardened, Hardening, HardenOptions } from './harden.js';
export { HARDENINGS } from './harden.js';
export { as, type TypeSpec } from './koffi.js';
export type { ArgumentOptions, LentArgument } from './lend-arguments.js';
export { GuardedLibrary, type LoadOptions } from './library.js';
export type { FunctionOptions } from './prototype.js';
export type { Access, FaultRecord, Phase, RegisterName, SystemCall } from './record.js';
export type { Response } from './response.js';
export type { Lasting } from './watching.js';
