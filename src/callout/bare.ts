/**
 * Mechanism 'none': koffi's own functions behind the guard's surface. There is no thunk, and no guarded loading or
 * decoding. Loans still become addresses, and what a call in flight uses still waits for it.
 */
import { binding } from './binding.js';
import type { GuardedFunction, MadeFunction, UntypedFunction } from './function.js';
import { ffi, functionAt } from './koffi.js';
import type { Declaration } from './prototype.js';
import { type InUse, isLoan, lentAddress, useOf } from './vm.js';

const RTLD_DEFAULT = 0n;
const OPEN = ffi.proto('uintptr_t', ['const char *', 'int']);
const CLOSE = ffi.proto('int', ['uintptr_t']);
const MESSAGE = ffi.proto('const char *', []);

/* The loader's own functions, by koffi: constructors and destructors run as they would without Turnkey. */
function loader(name: string, type: ReturnType<typeof ffi.proto>): (...args: unknown[]) => unknown {
  return functionAt(binding.dlsym(RTLD_DEFAULT, name), type);
}

/** dlopen(3) outside any gate: the handle, or the loader's message. */
export function bareOpen(path: string, flags: number): bigint | string {
  const handle = BigInt(loader('dlopen', OPEN)(path, flags) as bigint);
  return handle !== 0n ? handle : String(loader('dlerror', MESSAGE)());
}

/** dlclose(3) outside any gate: true, or the loader's message. */
export function bareClose(handle: bigint): true | string {
  return loader('dlclose', CLOSE)(handle) === 0 ? true : String(loader('dlerror', MESSAGE)());
}

const POINTERS = new Set(['Pointer', 'String', 'String16', 'String32']);

/** koffi's function for a declaration. `uses`: what a call in flight keeps from being given back. */
export function makeBare(declaration: Declaration, address: bigint, uses: readonly InUse[]): MadeFunction {
  const raw = functionAt(address, declaration.type);
  let gone: string | undefined;
  const takesPointers =
    declaration.variadic || declaration.info.arguments.some((parameter) => POINTERS.has(parameter.type.primitive));
  const convert = (args: unknown[]): unknown[] => {
    if (gone !== undefined) throw new Error(gone);
    return takesPointers ? args.map((value) => (isLoan(value) ? lentAddress(value) : value)) : args;
  };
  /* koffi calls `done` at once where it refuses an argument, and not at all where it throws. */
  const start = (args: unknown[], done: (error: unknown, result: unknown) => void): void => {
    const given = convert(args);
    const used = [...uses, ...args.filter(isLoan).map(useOf)];
    const end = (): void => {
      for (const use of used.splice(0)) use.end();
    };
    for (const use of used) use.begin();
    try {
      raw.async(...given, (error: unknown, result: unknown) => {
        end();
        done(error, result);
      });
    } catch (error) {
      end();
      throw error;
    }
  };
  const call: UntypedFunction = (...args) => raw(...convert(args));
  Object.defineProperty(call, 'name', { value: declaration.name, configurable: true });
  const extra: Record<string, unknown> = { info: declaration.info };
  if (!declaration.variadic) {
    extra['async'] = (...args: unknown[]): void => {
      const done = args.pop();
      if (typeof done !== 'function') raw.async(...args, done); /* koffi's own complaint */
      else start(args, done as (error: unknown, result: unknown) => void);
    };
    extra['promise'] = (...args: unknown[]): Promise<unknown> =>
      new Promise((resolve, reject) => {
        start(args, (error, result) => {
          if (error === null) resolve(result);
          // oxlint-disable-next-line typescript/no-base-to-string -- whatever was thrown, in words
          else reject(error instanceof Error ? error : new Error(String(error)));
        });
      });
  }
  return {
    call: Object.assign(call, extra) as unknown as GuardedFunction,
    retire(reason) {
      gone = reason;
    },
  };
}
