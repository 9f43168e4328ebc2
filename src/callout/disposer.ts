/** Disposing of pointers that a callee left, as koffi would once it has decoded them. */
import { binding } from './binding.js';
import type { GuardedFunction, UntypedFunction } from './function.js';
import { disposerOf, ffi, type Type } from './koffi.js';
import { RTLD_DEFAULT } from './libraries.js';
import { type Declaration, declarationOf } from './prototype.js';

const FREE = ffi.proto('void', ['void *']);

const holders = new WeakMap<object, Type>();

function holderOf(type: Type): Type {
  let holder = holders.get(type);
  if (holder === undefined) {
    holder = ffi.struct({ pointer: type });
    holders.set(type, holder);
  }
  return holder;
}

export class Disposer {
  readonly #functionAt: (address: bigint, declaration: Declaration) => GuardedFunction;
  #free: GuardedFunction | undefined;

  /** `functionAt` makes a guarded function for a code address. */
  constructor(functionAt: (address: bigint, declaration: Declaration) => GuardedFunction) {
    this.#functionAt = functionAt;
  }

  dispose(type: Type, pointer: bigint | null): void {
    const disposer = disposerOf(type);
    if (disposer === undefined) {
      /* The type was made out of sight, and koffi alone knows its disposer. koffi calls it when it decodes the pointer,
       * which was just read without a fault. */
      const memory = Buffer.alloc(8);
      memory.writeBigUInt64LE(pointer ?? 0n);
      ffi.decode(memory, holderOf(type));
    } else if (disposer === null || disposer === (ffi as unknown as { free: unknown }).free) {
      this.#free ??= this.#functionAt(binding.dlsym(RTLD_DEFAULT, 'free'), { ...declarationOf(FREE), name: 'free' });
      (this.#free as UntypedFunction)(pointer);
    } else {
      disposer(pointer);
    }
  }
}
