/**
 * Libraries: loaded and unloaded as callouts (constructors and destructors are foreign code too), with koffi's surface.
 */
import type { AnyFunction, GuardedFunction, UntypedFunction } from './function.js';
import type { TypeSpec } from './koffi.js';
import type { FunctionOptions } from './prototype.js';
import type { ScanMode } from './scanning.js';

/** koffi's load options. */
export interface LoadOptions {
  readonly lazy?: boolean;
  readonly global?: boolean;
  readonly deep?: boolean;
  /**
   * What becomes of a library that holds an instruction which writes rights to keys, itself or in what it needs.
   * Default 'refuse' where the guard is hardened by 'scan', else 'off'.
   */
  readonly scan?: ScanMode;
}

/** What a library needs of its guard. */
export interface LibraryHost {
  makeFunction(library: GuardedLibrary, declaration: readonly unknown[]): GuardedFunction;
  findSymbol(library: GuardedLibrary, name: string): bigint;
  unload(library: GuardedLibrary): void;
}

interface Declare {
  <F extends AnyFunction = UntypedFunction>(definition: string, options?: FunctionOptions): GuardedFunction<F>;
  <F extends AnyFunction = UntypedFunction>(
    name: string,
    result: TypeSpec,
    parameters: readonly TypeSpec[],
    options?: FunctionOptions,
  ): GuardedFunction<F>;
  <F extends AnyFunction = UntypedFunction>(
    convention: string,
    name: string,
    result: TypeSpec,
    parameters: readonly TypeSpec[],
    options?: FunctionOptions,
  ): GuardedFunction<F>;
}

export class GuardedLibrary {
  /** As given to `guard.load`; null is the program itself. */
  readonly path: string | null;
  readonly #host: LibraryHost;

  /** @internal Made by a guard. */
  constructor(path: string | null, host: LibraryHost) {
    this.path = path;
    this.#host = host;
    const declare = ((...forms: unknown[]) => this.#host.makeFunction(this, forms)) as Declare;
    this.func = declare;
    this.cdecl = declare;
    this.stdcall = declare;
    this.fastcall = declare;
    this.thiscall = declare;
  }

  /**
   * Declares a function, as koffi's `lib.func`: a C prototype, or name, result and parameters. Give the TypeScript type
   * as a type argument. Throws an Error that names the symbol when the library has none such, and koffi's errors for
   * types that it does not know. Throws an Error "Cannot guard another function: …" with the code `EINVAL` when the
   * arguments take more stack than a thunk copies (docs/gate.md), and with `ENOSPC` when all thunks are taken. A
   * variadic function throws these at its call.
   */
  readonly func: Declare;
  /** As koffi's; calling conventions mean nothing on x86-64. */
  readonly cdecl: Declare;
  readonly stdcall: Declare;
  readonly fastcall: Declare;
  readonly thiscall: Declare;

  /** Address of a symbol. Throws an Error that names it when there is none. */
  symbol(name: string): bigint {
    return this.#host.findSymbol(this, name);
  }

  /** Runs destructors, as a callout. Functions of the library throw from then on. */
  unload(): void {
    this.#host.unload(this);
  }

  [Symbol.dispose](): void {
    this.unload();
  }
}
