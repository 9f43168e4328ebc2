/**
 * Mechanism 'none': koffi's own functions behind the guard's surface. No thunk, no guarded loading or decoding; loans
 * still become addresses.
 */
import { binding } from './binding.js';
import type { GuardedFunction, MadeFunction, UntypedFunction } from './function.js';
import { ffi, type ForeignFunction, prepareKoffi } from './koffi.js';
import type { Declaration } from './prototype.js';
import { isLoan, lentAddress } from './vm.js';

const RTLD_DEFAULT = 0n;
const OPEN = ffi.proto('uintptr_t', ['const char *', 'int']);
const CLOSE = ffi.proto('int', ['uintptr_t']);
const MESSAGE = ffi.proto('const char *', []);

/* The loader's own functions, by koffi: constructors and destructors run as they would without Turnkey. */
function loader(name: string, type: ReturnType<typeof ffi.proto>): (...args: unknown[]) => unknown {
  return ffi.decode(binding.dlsym(RTLD_DEFAULT, name), type) as (...args: unknown[]) => unknown;
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

export interface BareGuard {
  make(declaration: Declaration, address: bigint): MadeFunction;
}

const POINTERS = new Set(['Pointer', 'String', 'String16', 'String32']);

export const bareGuard: BareGuard = {
  make(declaration, address) {
    prepareKoffi();
    const raw = ffi.decode(address, declaration.type) as ForeignFunction;
    let gone: string | undefined;
    const takesPointers =
      declaration.variadic || declaration.info.arguments.some((parameter) => POINTERS.has(parameter.type.primitive));
    const convert = (args: unknown[]): unknown[] => {
      if (gone !== undefined) throw new Error(gone);
      return takesPointers ? args.map((value) => (isLoan(value) ? lentAddress(value) : value)) : args;
    };
    const call: UntypedFunction = (...args) => raw(...convert(args));
    Object.defineProperty(call, 'name', { value: declaration.name, configurable: true });
    const extra: Record<string, unknown> = { info: declaration.info };
    if (!declaration.variadic) {
      extra['async'] = (...args: unknown[]): void => {
        raw.async(...convert(args));
      };
      extra['promise'] = (...args: unknown[]): Promise<unknown> =>
        new Promise((resolve, reject) => {
          raw.async(...convert(args), (error: unknown, result: unknown) => {
            if (error === null) resolve(result);
            else reject(error instanceof Error ? error : new Error(String(error as string)));
          });
        });
    }
    return {
      call: Object.assign(call, extra) as unknown as GuardedFunction,
      retire(reason) {
        gone = reason;
      },
    };
  },
};
