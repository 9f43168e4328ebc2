/**
 * Guard: calls foreign functions so that a bad call fails with a CalloutError and the image stays as it was. Its
 * surface is koffi's.
 */
import { makeBare } from './bare.js';
import { binding, type Policy, ThunkFlag } from './binding.js';
import { Callbacks } from './callbacks.js';
import { Callee, type CalleeHost, type Entry } from './callee.js';
import { chooseMechanism } from './choose.js';
import {
  DecodeFault,
  type Decoder,
  DEFAULT_DECODE_LIMIT,
  GuardedReader,
  parseDecodeCall,
  withNamedDecoders,
} from './decode.js';
import { Disposer } from './disposer.js';
import { at, type Called, type CalledBy, type CalloutError, makeCalloutError } from './error.js';
import { answered, REFUSED } from './failure.js';
import {
  type AnyFunction,
  type GuardedFunction,
  type MadeFunction,
  makeFunction,
  type UntypedFunction,
} from './function.js';
import { harden, type Hardened, type HardenOptions } from './harden.js';
import { decodeBare, ffi, registerFunction, type Type, type TypeSpec } from './koffi.js';
import { argumentLender, type ArgumentOptions } from './lend-arguments.js';
import { Libraries } from './libraries.js';
import type { GuardedLibrary, LoadOptions } from './library.js';
import { whenOutside } from './lifetime.js';
import { type Declaration, declarationOf } from './prototype.js';
import type { CopiedRecord } from './record.js';
import { type Response, responseCode } from './response.js';
import { rearm } from './signals.js';
import { type GuardMechanism, holdsThroughout, type Image, InUse, useOf } from './vm.js';

export interface GuardOptions extends HardenOptions, ArgumentOptions {
  /** The image to close during callouts. May be left out for 'flag' and 'none'. */
  readonly image?: Image;
  /** Default 'auto': keys where the probe finds them usable, else 'mprotect-range'; 'flag' without an image. */
  readonly mechanism?: GuardMechanism | 'auto';
  /**
   * Default 'always'. It decides about faults in foreign code. A wild pointer that is found while decoding is always an
   * error, because that fault is the guard's own.
   */
  readonly response?: Response;
  /**
   * False: functions run on the stack of their caller, which is koffi's, unless their own `foreignStack` says
   * otherwise. Default true.
   */
  readonly foreignStack?: boolean;
  /** Bytes that one decoded string or array may have; default 16 MiB. */
  readonly decodeLimit?: number;
  /**
   * Compares the image with its snapshot at each fault for which the mechanism did not hold: `error.image` is then
   * 'intact' or 'damaged'. This is slow.
   */
  readonly compare?: boolean;
  /** Counts callouts: {@link Guard.callouts}. Costs about a nanosecond each. Default false. */
  readonly count?: boolean;
  /**
   * For experiments: the gate arms the trap but closes nothing, whatever the mechanism, and loading is not guarded.
   * What a mechanism prevents is only shown by what happens without it.
   */
  readonly bareGate?: boolean;
  /**
   * Functions may write the image with a virtual key that the calling thread has entered: code of that tenant's own.
   * All others stay closed to it. Default false.
   */
  readonly inside?: boolean;
}

/** Hears of each failed callout before the error is thrown. */
export type FaultListener = (error: CalloutError) => void;

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

export class Guard {
  readonly #mechanism: GuardMechanism;
  readonly #because: string;
  readonly #listeners = new Set<FaultListener>();
  readonly #libraries: Libraries;
  readonly #callbacks: Callbacks;
  readonly #pointerFunctions = new Map<Type, Map<bigint, MadeFunction>>();
  readonly #resources: Resources;
  readonly #reader: GuardedReader;
  readonly #host: CalleeHost;
  /** What the guard does beyond its mechanism. */
  readonly hardened: Hardened;
  readonly #isBare: boolean;
  readonly #calledBy: CalledBy;
  readonly #compare: boolean;
  readonly #calls: Float64Array | undefined;
  readonly #use = new InUse();
  readonly #uses: readonly InUse[];
  #response: Response;
  #closed = false;
  #released = false;

  /**
   * Throws an Error when the mechanism needs keys and the machine has none (with the probe's reason), or when the image
   * has another mechanism already; a TypeError for unknown options.
   */
  constructor(options: GuardOptions = {}) {
    const {
      image,
      mechanism = 'auto',
      response = 'always',
      foreignStack = true,
      decodeLimit = DEFAULT_DECODE_LIMIT,
      compare = false,
      count = false,
      bareGate = false,
      inside = false,
    } = options;
    [this.#mechanism, this.#because] = chooseMechanism(mechanism, image !== undefined, image?.mechanism);
    if (!Number.isSafeInteger(decodeLimit) || decodeLimit <= 0)
      throw new TypeError(`decodeLimit must be a positive number of bytes, not ${String(decodeLimit)}`);
    const code = responseCode(response);
    image?.setMechanism(this.#mechanism);
    this.hardened = harden(options, this.#mechanism, image);

    this.#response = response;
    this.#compare = compare;
    this.#calls = count ? new Float64Array(1) : undefined;
    this.#isBare = this.#mechanism === 'none';
    this.#uses = image === undefined ? [this.#use] : [this.#use, useOf(image)];
    rearm();
    this.#resources = { thunks: [], policy: answered(binding.policyCreate(code), 'make a guard', 'policies') };
    abandoned.register(this, this.#resources, this);
    this.#calledBy = {
      mechanism: this.#mechanism,
      image: { protects: holdsThroughout(this.#mechanism) && !bareGate && !inside, compare: () => compareImage(image) },
    };
    /* Its function serves completions after close() too. */
    const disposer = new Disposer((address, declaration) => this.#make(declaration, address, undefined, []).call);
    this.#reader = new GuardedReader(
      decodeLimit,
      (type, pointer) => {
        disposer.dispose(type, pointer);
      },
      (read) => this.#late(read),
    );
    this.decode = this.#isBare ? (decodeBare as unknown as Decoder) : this.#guardedDecoder();
    this.#callbacks = new Callbacks({
      reader: this.#reader,
      callbackPrototype: (type) => this.#callbacks.prototypeOf(type),
      callableAddress: (pointer, type) => this.#callbacks.addressOf(pointer, type),
    });
    const more = this.hardened.thunkFlags | (bareGate ? ThunkFlag.bare : 0) | (inside ? ThunkFlag.inside : 0);
    this.#host = {
      reader: this.#reader,
      foreignStack,
      lend: argumentLender(image, options.lendArguments),
      ...(this.#calls === undefined ? {} : { calls: this.#calls }),
      callbackPrototype: (type) => this.#callbacks.prototypeOf(type),
      callableAddress: (pointer, type) => this.#callbacks.addressOf(pointer, type),
      thunk: (target, bytes, flags) => {
        if (this.#released) throw new Error(CLOSED);
        const made = binding.thunk(target, bytes, flags | more, this.#resources.policy);
        const refused = (flags & ThunkFlag.callerStack) === 0 ? REFUSED.thunk : REFUSED.callerStack;
        const thunk = answered(made, 'guard another function', 'thunks', refused);
        this.#resources.thunks.push(thunk);
        return thunk;
      },
      makeError: (record, called, args) => makeCalloutError(record, called, args, this.#calledBy),
      tell: (error) => (this.#listeners.size > 0 || this.#compare ? this.#tell(error) : error),
    };
    this.#libraries = new Libraries({
      guarded: !this.#isBare && !bareGate,
      scan: this.hardened.by.includes('scan') ? 'refuse' : 'off',
      policy: this.#resources.policy,
      requireOpen: () => {
        this.#requireOpen();
      },
      make: (declaration, address, library, use) => this.#make(declaration, address, library, [...this.#uses, use]),
      fail: (record, called, args, entry) => this.#fail(record, called, args, entry),
    });
  }

  /** What protects the image. */
  get mechanism(): GuardMechanism {
    return this.#mechanism;
  }
  /** Why it is that: 'asked for', or what `auto` found. */
  get chosenBecause(): string {
    return this.#because;
  }

  /** Callouts so far, where the guard counts them and guards: else 0. */
  get callouts(): number {
    return this.#calls?.[0] ?? 0;
  }

  /** Which faults become errors; may be changed at any time, for calls in progress too. */
  get response(): Response {
    return this.#response;
  }
  set response(response: Response) {
    const code = responseCode(response);
    this.#requireOpen();
    binding.policySet(this.#resources.policy, code);
    this.#response = response;
  }

  /**
   * Loads a library, as `koffi.load`; its constructors run as a callout. `null` is the program itself. Throws an Error
   * that names a library that cannot be loaded, or a CalloutError of phase 'load' when a constructor faults.
   */
  load(path: string | null, options: LoadOptions = {}): GuardedLibrary {
    return this.#libraries.load(path, options, this.load);
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
   * Pointers that foreign code passes are decoded by guarded reads, which `koffi.register` itself cannot do.
   */
  register(callback: AnyFunction, type: TypeSpec): bigint {
    this.#requireOpen();
    return this.#isBare ? registerFunction(callback, type) : this.#callbacks.register(callback, type);
  }

  /**
   * Ends a registration. A later call through the address throws in JavaScript where a callout is in progress on this
   * thread. A foreign thread that calls gets a zero, and the program a single warning.
   */
  unregister(code: bigint): void {
    if (this.#isBare) ffi.unregister(code);
    else this.#callbacks.unregister(code);
  }

  /**
   * Calls `listener` before each CalloutError is thrown; returns a function that ends that. What a listener throws is
   * reported as a warning.
   */
  onFault(listener: FaultListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Ends the guard: its functions throw from now on, and its registered callbacks end. Nothing is taken from under
   * foreign code. Asynchronous calls in flight come back as if the guard were open, and thunks are given back after the
   * last. Libraries stay loaded, and the image stays as it is.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libraries.retire(CLOSED);
    for (const ofType of this.#pointerFunctions.values()) for (const made of ofType.values()) made.retire(CLOSED);
    this.#callbacks.expire();
    abandoned.unregister(this);
    whenOutside(this.#use, () => {
      this.#released = true;
      this.#callbacks.close();
      release(this.#resources);
    });
  }

  /** Resolves when no asynchronous call of this guard is in flight. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#use.whenIdle(resolve);
    });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Closes, and waits for the asynchronous calls in flight. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.idle();
  }

  #requireOpen(): void {
    if (this.#closed) throw new Error(CLOSED);
  }

  #make(declaration: Declaration, address: bigint, library: string | undefined, uses: readonly InUse[]): MadeFunction {
    if (this.#isBare) return makeBare(declaration, address, uses);
    return makeFunction(new Callee(this.#host, declaration, address, library, uses));
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
      made = this.#make(declaration, address, undefined, this.#uses);
      ofType.set(address, made);
    }
    return made.call;
  }

  #guardedDecoder(): Decoder {
    const decode: UntypedFunction = (...call) => this.#decode(call, decode);
    return withNamedDecoders(decode, this.#reader, (args, entry, read) => this.#reading(args, entry, read));
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

const CLOSED = 'the guard was closed';

function toAddress(value: unknown): bigint {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value);
  if (typeof value === 'number') return BigInt.asUintN(64, BigInt(value));
  return ffi.address(value);
}

function compareImage(image: Image | undefined): number | undefined {
  return image?.hasSnapshot === true ? image.diff().rangeCount : undefined;
}
