/**
 * What a program sees in place of koffi's addon: koffi's own functions for types and memory, and a guard's wherever
 * foreign code runs or foreign memory is touched. The guard is made when such a function is first called.
 */
import { REAL } from '../callout/real.js';
import type * as Guarded from './guarded.js';

type AnyFunction = (...args: never[]) => unknown;
type Untyped = (...args: unknown[]) => unknown;

/** koffi's addon, as far as this module looks into it. */
export interface KoffiAddon {
  readonly version: string;
  readonly [name: string]: unknown;
}

/** By name: the function of the guard that stands for koffi's. */
const GUARDED = ['load', 'decode', 'call', 'encode', 'register', 'unregister', 'as', 'disposable'] as const;

/**
 * @param own the addon whose types the guard knows
 * @param version what the program's copy of koffi expects of its addon
 */
export function guardedSurface(own: KoffiAddon, version: string, library: () => typeof Guarded): KoffiAddon {
  const late = (pick: (functions: Guarded.KoffiFunctions) => AnyFunction): Untyped => {
    const call: Untyped = (...args) => {
      const { functions, withoutFrame } = library();
      return withoutFrame(call, () => (pick(functions) as Untyped)(...args));
    };
    return call;
  };
  const surface: Record<string | symbol, unknown> = {};
  for (const name of Object.getOwnPropertyNames(own))
    Object.defineProperty(surface, name, { ...Object.getOwnPropertyDescriptor(own, name), configurable: true });
  const put = (name: string | symbol, value: unknown): void => {
    Object.defineProperty(surface, name, {
      value,
      writable: true,
      enumerable: typeof name === 'string',
      configurable: true,
    });
  };
  for (const name of GUARDED)
    put(
      name,
      late((functions) => functions[name]),
    );
  for (const name of Object.keys(own['decode'] as object))
    (surface['decode'] as unknown as Record<string, unknown>)[name] = late(
      (functions) => (functions.decode as unknown as Record<string, AnyFunction>)[name] as AnyFunction,
    );
  /* `x instanceof koffi.LibraryHandle`, without loading the library for it. */
  function LibraryHandle(): never {
    throw new TypeError('Illegal constructor');
  }
  Object.defineProperty(LibraryHandle, Symbol.hasInstance, {
    value: (value: unknown) => value instanceof library().GuardedLibrary,
  });
  put('LibraryHandle', LibraryHandle);
  put('version', version);
  put(REAL, own);
  return surface as unknown as KoffiAddon;
}
