/** The callbacks of one guard: prototypes, registrations, and koffi's own trampolines wrapped. */
import { type ArgumentHost, CallScope, convertIn } from './arguments.js';
import { binding } from './binding.js';
import { CallbackPrototype, type CallbackSlot, isKoffiTrampoline } from './callback.js';
import { answered, REFUSED } from './failure.js';
import type { AnyFunction, UntypedFunction } from './function.js';
import { ffi, type Type, type TypeSpec } from './koffi.js';
import { stackBytes } from './signature.js';

export class Callbacks {
  readonly #host: ArgumentHost;
  readonly #prototypes = new Map<Type, CallbackPrototype>();
  readonly #registered = new Map<bigint, { readonly prototype: CallbackPrototype; readonly slot: CallbackSlot }>();
  readonly #translated = new Map<string, bigint>();

  constructor(host: ArgumentHost) {
    this.#host = host;
  }

  prototypeOf(type: Type): CallbackPrototype {
    let prototype = this.#prototypes.get(type);
    if (prototype === undefined) {
      if (type.proto === undefined) throw new TypeError(`${type.name} is not a callback type`);
      prototype = new CallbackPrototype(type.proto, this.#host.reader, (result) => this.#resultConverter(result));
      this.#prototypes.set(type, prototype);
    }
    return prototype;
  }

  register(callback: AnyFunction, type: TypeSpec): bigint {
    if (typeof callback !== 'function')
      throw new TypeError(`Unexpected ${typeof callback} value for func, expected function`);
    const resolved = ffi.type(type);
    if (resolved.primitive !== 'Callback')
      throw new TypeError(`Unexpected ${resolved.name} type, expected <callback> * type`);
    const prototype = this.prototypeOf(resolved);
    const slot = prototype.take(callback as UntypedFunction);
    this.#registered.set(slot.code, { prototype, slot });
    return slot.code;
  }

  unregister(code: bigint): void {
    const found = this.#registered.get(code);
    if (found === undefined) throw new Error('Could not find matching registered callback');
    this.#registered.delete(code);
    found.prototype.leave(found.slot);
  }

  /** A code address for a function pointer given as a number: koffi's trampolines get a thunk. */
  addressOf(pointer: bigint, type: Type): bigint {
    if (pointer === 0n || type.proto === undefined || !isKoffiTrampoline(pointer)) return pointer;
    const bytes = stackBytes(
      type.proto.result,
      type.proto.arguments.map((parameter) => parameter.type),
    );
    const key = `${pointer} ${bytes}`;
    let code = this.#translated.get(key);
    if (code === undefined) {
      code = answered(binding.callback(pointer, bytes), 'wrap a callback of koffi', 'callbacks', REFUSED.callback);
      this.#translated.set(key, code);
    }
    return code;
  }

  /** Ends every registration; a call through an address then finds no function. */
  expire(): void {
    for (const code of [...this.#registered.keys()]) this.unregister(code);
  }

  /** Gives all thunks back. Not while foreign code of this environment may call them. */
  close(): void {
    this.expire();
    for (const prototype of this.#prototypes.values()) prototype.close();
    for (const code of this.#translated.values()) binding.callbackRelease(code);
    this.#translated.clear();
  }

  /*
   * A callback may return functions. Nobody knows who calls them, and when: they stay registered while the guard lives.
   */
  #resultConverter(type: Type): ((value: unknown) => unknown) | undefined {
    if (type.primitive !== 'Callback') return undefined;
    const known = new WeakMap<object, bigint>();
    return (value) => {
      if (typeof value !== 'function') return convertIn(value, type, new CallScope(this.#host));
      let code = known.get(value);
      if (code === undefined) {
        code = this.register(value as AnyFunction, type);
        known.set(value, code);
      }
      return code;
    };
  }
}
