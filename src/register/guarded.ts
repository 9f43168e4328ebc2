/** The guard behind a program's koffi, one in each thread: made when this module is loaded. */
import { CalloutError, Guard, GuardedLibrary } from '../callout/index.js';
import { ffi, type Type, type TypeSpec } from '../callout/koffi.js';
import { encoder } from './encode.js';
import { readOptions } from './options.js';
import { report } from './report.js';

export { ffi, GuardedLibrary };

const guard = new Guard({ ...readOptions(), count: true });
report(guard);

/** What a guarded koffi has in place of koffi's own functions. */
export const functions = {
  load: guard.load.bind(guard),
  decode: guard.decode,
  call: guard.call.bind(guard),
  encode: encoder(guard),
  register: (callback: (...args: never[]) => unknown, type: TypeSpec): bigint => guard.register(callback, type),
  unregister: guard.unregister.bind(guard),
  as: ffi.as,
  disposable: (...args: unknown[]): Type => ffi.disposable(...args),
};
export type KoffiFunctions = typeof functions;

/** Does `action`; a CalloutError that comes out of it names the caller of `entry`, not Turnkey's own lines. */
export function withoutFrame<T>(entry: (...args: never[]) => unknown, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof CalloutError) Error.captureStackTrace(error, entry);
    throw error;
  }
}
