/**
 * Guard: foreign functions called so that a bad one fails with a CalloutError and the image stays as it was. The
 * surface is koffi's.
 */
import { CallScope, convertIn } from './arguments.js';
import { bareClose, type BareGuard, bareGuard, bareOpen } from './bare.js';
import { binding, type Policy, ThunkFlag } from './binding.js';
import { CallbackPrototype, type CallbackSlot, isKoffiTrampoline } from './callback.js';
import { Callee, type CalleeHost, type Entry } from './callee.js';
import {
  DecodeFault,
  type Decoder,
  DEFAULT_DECODE_LIMIT,
  GuardedReader,
  parseDecodeCall,
  withNamedDecoders,
} from './decode.js';
import { at, type Called, type CalledBy, type CalloutError, makeCalloutError } from './error.js';
import {
  type AnyFunction,
  type GuardedFunction,
  type MadeFunction,
  makeFunction,
  type UntypedFunction,
} from './function.js';
import { disposerOf, ffi, type Type, type TypeSpec } from './koffi.js';
import { GuardedLibrary, type LoadOptions } from './library.js';
import { endEpoch } from './modules.js';
import { type Declaration, declarationOf, parseDeclaration } from './prototype.js';
import { RECORD_BYTES } from './record.js';
import { rearm } from './signals.js';
import { stackBytes } from './signature.js';
import { type CopiedRecord, wholeRecord } from './thread.js';
import {
  GUARD_MECHANISMS,
  type GuardMechanism,
  holdsThroughout,
  type Image,
  isGuardMechanism,
  needsKeys,
  probe,
} from './vm.js';

/**
 * Which faults become errors: none, those in functions declared `canFail`, all. Cog's ffiExceptionResponse below, at
 * and above 0.
 */
export type Response = 'never' | 'declared' | 'always';

const RESPONSES: Readonly<Record<Response, number>> = { never: 0, declared: 1, always: 2 };

export interface GuardOptions {
  /** The image to close during callouts. May be left out for 'flag' and 'none'. */
  readonly image?: Image;
  /** Default 'auto': keys where the probe finds them usable, else 'mprotect-range'; 'flag' without an image. */
  readonly mechanism?: GuardMechanism | 'auto';
  /**
   * Default 'always'. It decides about faults in foreign code; a wild pointer found while decoding is always an error,
   * since there the fault is the guard's own.
   */
  readonly response?: Response;
  /** Bytes that one decoded string or array may have; default 16 MiB. */
  readonly decodeLimit?: number;
  /**
   * Compare the image with its snapshot at each fault, where the mechanism did not hold: `error.image` is then 'intact'
   * or 'damaged'. Slow.
   */
  readonly compare?: boolean;
  /**
   * For experiments: the gate arms the trap but closes nothing, whatever the mechanism, and loading is not guarded.
   * What a mechanism prevents is only shown by what happens without it.
   */
  readonly bareGate?: boolean;
}

/** Told of each failed callout before it throws. */
export type FaultListener = (error: CalloutError) => void;

interface OpenLibrary {
  readonly handle: bigint;
  readonly functions: MadeFunction[];
}

/* Released when a guard is collected without having been closed. */
interface Resources {
  readonly thunks: bigint[];
  readonly policy: Policy;
}
const abandoned = new FinalizationRegistry<Resources>(release);

function release(resources: Resources): void {
  for (const code of resources.thunks.splice(0)) binding.thunkRelease(code);
  binding.policyRelease(resources.policy);
}

const RTLD_LAZY = 1;
const RTLD_NOW = 2;
const RTLD_DEEPBIND = 8;
const RTLD_GLOBAL = 0x100;
const RTLD_DEFAULT = 0n;

export class Guard {
  readonly #mechanism: GuardMechanism;
  readonly #because: string;
  readonly #listeners = new Set<FaultListener>();
  readonly #libraries = new Map<GuardedLibrary, OpenLibrary>();
  readonly #callbacks = new Map<Type, CallbackPrototype>();
  readonly #registered = new Map<bigint, { readonly prototype: CallbackPrototype; readonly slot: CallbackSlot }>();
  readonly #translated = new Map<string, bigint>();
  readonly #pointerFunctions = new Map<Type, Map<bigint, MadeFunction>>();
  readonly #resources: Resources;
  readonly #reader: GuardedReader;
  readonly #host: CalleeHost;
  readonly #bare: BareGuard | undefined;
  readonly #loadsGuarded: boolean;
  readonly #calledBy: CalledBy;
  readonly #compare: boolean;
  #response: Response;
  #free: GuardedFunction | undefined;
  #closed = false;

  /**
   * Throws an Error when the mechanism needs keys and the machine has none (with the probe's reason), when the image
   * has another mechanism already, a TypeError for unknown options.
   */
  constructor(options: GuardOptions = {}) {
    const {
      image,
      mechanism = 'auto',
      response = 'always',
      decodeLimit = DEFAULT_DECODE_LIMIT,
      compare = false,
      bareGate = false,
    } = options;
    [this.#mechanism, this.#because] = chooseMechanism(mechanism, image !== undefined);
    if (!Object.hasOwn(RESPONSES, response))
      throw new TypeError(`unknown response '${String(response)}': use 'never', 'declared' or 'always'`);
    if (!Number.isSafeInteger(decodeLimit) || decodeLimit <= 0)
      throw new TypeError(`decodeLimit must be a positive number of bytes, not ${String(decodeLimit)}`);
    image?.setMechanism(this.#mechanism);

    this.#response = response;
    this.#compare = compare;
    rearm();
    this.#resources = { thunks: [], policy: binding.policyCreate(RESPONSES[response]) };
    abandoned.register(this, this.#resources, this);
    this.#calledBy = {
      mechanism: this.#mechanism,
      image: { protects: holdsThroughout(this.#mechanism) && !bareGate, compare: () => compareImage(image) },
    };
    this.#reader = new GuardedReader(
      decodeLimit,
      (type, pointer) => {
        this.#dispose(type, pointer);
      },
      (read) => this.#late(read),
    );
    this.#bare = this.#mechanism === 'none' ? bareGuard : undefined;
    const decode: UntypedFunction = (...call) => this.#decode(call, decode);
    this.decode =
      this.#bare !== undefined
        ? (ffi.decode as unknown as Decoder)
        : withNamedDecoders(decode, this.#reader, (args, entry, read) => this.#reading(args, entry, read));
    this.#loadsGuarded = this.#bare === undefined && !bareGate;
    this.#host = {
      reader: this.#reader,
      callbackPrototype: (type) => this.#callbackPrototype(type),
      callableAddress: (pointer, type) => this.#callableAddress(pointer, type),
      thunk: (target, bytes, flags, isPrivate) => {
        this.#requireOpen();
        const code = binding.thunk(
          target,
          bytes,
          bareGate ? flags | ThunkFlag.bare : flags,
          this.#resources.policy,
          isPrivate,
        );
        this.#resources.thunks.push(code);
        return code;
      },
      makeError: (record, called, args) => makeCalloutError(record, called, args, this.#calledBy),
      tell: (error) => (this.#listeners.size > 0 || this.#compare ? this.#tell(error) : error),
    };
  }

  /** What protects the image. */
  get mechanism(): GuardMechanism {
    return this.#mechanism;
  }
  /** Why it is that: 'asked for', or what `auto` found. */
  get chosenBecause(): string {
    return this.#because;
  }

  /** Which faults become errors; may be changed at any time, for calls in progress too. */
  get response(): Response {
    return this.#response;
  }
  set response(response: Response) {
    if (!Object.hasOwn(RESPONSES, response))
      throw new TypeError(`unknown response '${String(response)}': use 'never', 'declared' or 'always'`);
    this.#requireOpen();
    binding.policySet(this.#resources.policy, RESPONSES[response]);
    this.#response = response;
  }

  /**
   * Loads a library, as `koffi.load`; its constructors run as a callout. `null` is the program itself. Throws an Error
   * that names a library that cannot be loaded, a CalloutError of phase 'load' when a constructor faults.
   */
  load(path: string | null, options: LoadOptions = {}): GuardedLibrary {
    this.#requireOpen();
    if (path !== null && (typeof path !== 'string' || path === ''))
      throw new TypeError(`Unexpected ${path === '' ? 'empty' : typeof path} value for path, expected string or null`);
    const library: GuardedLibrary = new GuardedLibrary(path, {
      makeFunction: (of, forms) => this.#makeFunction(of, forms),
      findSymbol: (of, name) => this.#findSymbol(of, name),
      unload: (of) => {
        this.#unload(of);
      },
    });
    this.#libraries.set(library, { handle: path === null ? RTLD_DEFAULT : this.#open(path, options), functions: [] });
    return library;
  }

  /**
   * `koffi.decode`, by guarded reads: `(pointer, [offset], type, [length])`. A prototype type gives a guarded function.
   * Throws a CalloutError of phase 'decode' for a wild pointer.
   */
  readonly decode: Decoder;

  /** `koffi.call`: calls a function pointer, guarded. */
  call(pointer: unknown, type: TypeSpec, ...args: unknown[]): unknown {
    return (this.decode(pointer, type) as UntypedFunction)(...args);
  }

  /**
   * `koffi.register` for guarded calls: a code address that foreign code may keep and call until {@link unregister}.
   * Pointers it passes are decoded by guarded reads, which `koffi.register` itself cannot do.
   */
  register(callback: AnyFunction, type: TypeSpec): bigint {
    this.#requireOpen();
    if (this.#bare !== undefined) return ffi.register(callback, type);
    if (typeof callback !== 'function')
      throw new TypeError(`Unexpected ${typeof callback} value for func, expected function`);
    const resolved = ffi.type(type);
    if (resolved.primitive !== 'Callback')
      throw new TypeError(`Unexpected ${resolved.name} type, expected <callback> * type`);
    const prototype = this.#callbackPrototype(resolved);
    const slot = prototype.take(callback as UntypedFunction);
    this.#registered.set(slot.code, { prototype, slot });
    return slot.code;
  }

  /** Ends a registration. A call through the address afterwards is an error in JavaScript. */
  unregister(code: bigint): void {
    if (this.#bare !== undefined) {
      ffi.unregister(code);
      return;
    }
    const found = this.#registered.get(code);
    if (found === undefined) throw new Error('Could not find matching registered callback');
    this.#registered.delete(code);
    found.prototype.giveBack(found.slot);
  }

  /**
   * Calls `listener` before each CalloutError is thrown; returns how to stop. What a listener throws is reported as a
   * warning.
   */
  onFault(listener: FaultListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Releases thunks and callbacks; functions of this guard throw from then on. Libraries stay loaded. The image stays
   * as it is.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { functions } of this.#libraries.values())
      for (const made of functions) made.retire('the guard was closed');
    for (const ofType of this.#pointerFunctions.values())
      for (const made of ofType.values()) made.retire('the guard was closed');
    for (const { prototype, slot } of this.#registered.values()) prototype.giveBack(slot);
    for (const prototype of this.#callbacks.values()) prototype.close();
    for (const code of this.#translated.values()) binding.callbackRelease(code);
    abandoned.unregister(this);
    release(this.#resources);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #requireOpen(): void {
    if (this.#closed) throw new Error('the guard was closed');
  }

  #open(path: string, options: LoadOptions): bigint {
    const flags =
      (options.lazy === true ? RTLD_LAZY : RTLD_NOW) |
      (options.global === true ? RTLD_GLOBAL : 0) |
      (options.deep === true ? RTLD_DEEPBIND : 0);
    const record = new Uint8Array(RECORD_BYTES);
    const opened = this.#loadsGuarded
      ? binding.dlopen(path, flags, this.#resources.policy, record)
      : bareOpen(path, flags);
    if (typeof opened === 'bigint') return opened;
    if (opened === undefined)
      throw this.#fail(wholeRecord(record), { name: 'dlopen', library: path }, [path], this.load);
    throw new Error(
      `cannot load library '${path}': ${opened}. Check the name, or give a full path; the loader looks in ` +
        'LD_LIBRARY_PATH and the ldconfig cache',
    );
  }

  #opened(library: GuardedLibrary): OpenLibrary {
    this.#requireOpen();
    const open = this.#libraries.get(library);
    if (open === undefined) throw new Error(`library '${library.path ?? 'the program'}' was unloaded`);
    return open;
  }

  #findSymbol(library: GuardedLibrary, name: string): bigint {
    const { handle } = this.#opened(library);
    if (typeof name !== 'string') throw new TypeError(`Unexpected ${typeof name} value for name, expected string`);
    const address = binding.dlsym(handle, name);
    if (address === 0n) {
      throw new Error(
        `Cannot find symbol '${name}' in ` +
          `${library.path === null ? 'the program' : `library '${library.path}'`}; 'nm -D' on the file lists ` +
          'what it exports',
      );
    }
    return address;
  }

  #makeFunction(library: GuardedLibrary, forms: readonly unknown[]): GuardedFunction {
    const open = this.#opened(library);
    const declaration = parseDeclaration(forms);
    const address = this.#findSymbol(library, declaration.name);
    const made = this.#make(declaration, address, library.path ?? undefined);
    open.functions.push(made);
    return made.call;
  }

  #make(declaration: Declaration, address: bigint, library: string | undefined): MadeFunction {
    if (this.#bare !== undefined) return this.#bare.make(declaration, address);
    return makeFunction(new Callee(this.#host, declaration, address, library));
  }

  #functionAt(address: bigint, declaration: Declaration): GuardedFunction {
    this.#requireOpen();
    let ofType = this.#pointerFunctions.get(declaration.type);
    if (ofType === undefined) {
      ofType = new Map();
      this.#pointerFunctions.set(declaration.type, ofType);
    }
    let made = ofType.get(address);
    if (made === undefined) {
      made = this.#make(declaration, address, undefined);
      ofType.set(address, made);
    }
    return made.call;
  }

  #unload(library: GuardedLibrary): void {
    const open = this.#opened(library);
    for (const made of open.functions) made.retire(`library '${library.path ?? 'the program'}' was unloaded`);
    this.#libraries.delete(library);
    if (open.handle === RTLD_DEFAULT) return;
    endEpoch();
    const record = new Uint8Array(RECORD_BYTES);
    const closed = this.#loadsGuarded
      ? binding.dlclose(open.handle, this.#resources.policy, record)
      : bareClose(open.handle);
    if (closed === undefined)
      throw this.#fail(
        wholeRecord(record),
        { name: 'dlclose', library: library.path ?? undefined },
        [],
        library.unload,
      );
    if (closed !== true) throw new Error(`cannot unload library '${library.path ?? 'the program'}': ${closed}`);
  }

  #callbackPrototype(type: Type): CallbackPrototype {
    let prototype = this.#callbacks.get(type);
    if (prototype === undefined) {
      if (type.proto === undefined) throw new TypeError(`${type.name} is not a callback type`);
      prototype = new CallbackPrototype(type.proto, this.#reader, (result) => this.#resultConverter(result));
      this.#callbacks.set(type, prototype);
    }
    return prototype;
  }

  /*
   * A callback may return functions. Who calls them, and when, nobody knows: they stay registered while the guard
   * lives.
   */
  #resultConverter(type: Type): ((value: unknown) => unknown) | undefined {
    if (type.primitive !== 'Callback') return undefined;
    const known = new WeakMap<object, bigint>();
    return (value) => {
      if (typeof value !== 'function') return convertIn(value, type, new CallScope(this.#host, false));
      let code = known.get(value);
      if (code === undefined) {
        code = this.register(value as AnyFunction, type);
        known.set(value, code);
      }
      return code;
    };
  }

  #callableAddress(pointer: bigint, type: Type): bigint {
    if (pointer === 0n || type.proto === undefined || !isKoffiTrampoline(pointer)) return pointer;
    const bytes = stackBytes(
      type.proto.result,
      type.proto.arguments.map((parameter) => parameter.type),
    );
    const key = `${pointer} ${bytes}`;
    let code = this.#translated.get(key);
    if (code === undefined) {
      code = binding.callback(pointer, bytes);
      this.#translated.set(key, code);
    }
    return code;
  }

  #dispose(type: Type, pointer: bigint | null): void {
    const disposer = disposerOf(type);
    if (disposer === undefined) {
      /*
       * Made out of sight: only koffi knows the disposer, and calls it when it decodes the pointer, which was just read
       * without a fault.
       */
      const memory = Buffer.alloc(8);
      memory.writeBigUInt64LE(pointer ?? 0n);
      ffi.decode(memory, disposeHolder(type));
    } else if (disposer === null || disposer === (ffi as unknown as { free: unknown }).free) {
      this.#free ??= this.#functionAt(binding.dlsym(RTLD_DEFAULT, 'free'), { ...declarationOf(FREE), name: 'free' });
      (this.#free as UntypedFunction)(pointer);
    } else {
      disposer(pointer);
    }
  }

  #decode(call: readonly unknown[], entry: Entry): unknown {
    const { value, offset, type, length } = parseDecodeCall(call);
    if (type.primitive === 'Prototype') return this.#functionAt(toAddress(value) + BigInt(offset), declarationOf(type));
    return this.#reading(call, entry, () => {
      if (typeof value !== 'bigint' && typeof value !== 'number') {
        if (value === null || value === undefined || typeof value !== 'object')
          ffi.decode(value, offset, type); /* koffi's own complaint */
        return this.#reader.fromOwn(value, offset, type, length);
      }
      return this.#reader.fromForeign(toAddress(value) + BigInt(offset), type, length);
    });
  }

  /** A guarded read outside a call: its fault is an error that names `entry`'s caller. */
  #reading<T>(args: readonly unknown[], entry: Entry, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof DecodeFault)) throw error;
      throw this.#fail(error.record, { name: entry.name, library: undefined }, args, entry);
    }
  }

  #late<T>(read: () => T): T {
    const entry = (): T => this.#reading([], entry, read);
    Object.defineProperty(entry, 'name', { value: 'decode' });
    return entry();
  }

  /** The error for a fault outside a function call. */
  #fail(record: CopiedRecord, called: Called, args: readonly unknown[], entry: Entry): CalloutError {
    return this.#tell(at(makeCalloutError(record, called, args, this.#calledBy), entry));
  }

  #tell(error: CalloutError): CalloutError {
    if (this.#compare && error.image === 'unknown') error.compareImage();
    for (const listener of this.#listeners) {
      try {
        listener(error);
      } catch (thrown) {
        process.emitWarning(thrown instanceof Error ? thrown : String(thrown), {
          type: 'TurnkeyListenerWarning',
          detail: 'thrown by an onFault listener',
        });
      }
    }
    return error;
  }
}

const FREE = ffi.proto('void', ['void *']);

const holders = new WeakMap<object, Type>();

function disposeHolder(type: Type): Type {
  let holder = holders.get(type);
  if (holder === undefined) {
    holder = ffi.struct({ pointer: type });
    holders.set(type, holder);
  }
  return holder;
}

function toAddress(value: unknown): bigint {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value);
  if (typeof value === 'number') return BigInt.asUintN(64, BigInt(value));
  return ffi.address(value);
}

function compareImage(image: Image | undefined): number | undefined {
  return image?.hasSnapshot === true ? image.diff().rangeCount : undefined;
}

function chooseMechanism(asked: GuardMechanism | 'auto', hasImage: boolean): readonly [GuardMechanism, string] {
  if (asked === 'auto') {
    if (!hasImage) return ['flag', 'auto: there is no image to protect'];
    const keys = probe();
    return keys.usable
      ? ['pkeys', 'auto: protection keys are usable']
      : ['mprotect-range', `auto: no protection keys (${keys.reason})`];
  }
  if ((asked as string) === 'pkeys-model' || (asked as string) === 'process') {
    throw new Error(`mechanism '${String(asked)}' protects nothing in this process: it is for cost experiments only`);
  }
  if (!isGuardMechanism(asked))
    throw new TypeError(`unknown mechanism '${String(asked)}': use 'auto' or one of ${GUARD_MECHANISMS.join(', ')}`);
  if (needsKeys(asked)) {
    const keys = probe();
    if (!keys.usable) throw new Error(`mechanism '${asked}' cannot be had here: ${keys.reason}`);
  }
  if (!hasImage && asked !== 'flag' && asked !== 'none')
    throw new TypeError(`mechanism '${asked}' protects an image: give one`);
  return [asked, 'asked for'];
}
