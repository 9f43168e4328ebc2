/**
 * Callbacks: JavaScript functions as code addresses that foreign code may call. koffi registers the function. The trap
 * wraps koffi's address, so that the call leaves the foreign stack and rights and comes back to them. Pointers that
 * foreign code passes are decoded by guarded reads.
 */
import { binding } from './binding.js';
import { answered, REFUSED } from './failure.js';
import { ffi, type PrototypeInfo, registerFunction, type Type } from './koffi.js';
import { type Fix, plainOf, type Reader } from './plain.js';
import { stackBytes } from './signature.js';

type AnyFunction = (...args: unknown[]) => unknown;

/** Converts what a callback returns before koffi encodes it; `undefined` if koffi can have it as it is. */
export type ConvertResult = (type: Type) => ((value: unknown) => unknown) | undefined;

/** One koffi trampoline with its thunk. `run` is what it calls now. */
export class CallbackSlot {
  readonly native: bigint;
  /** The address to hand to foreign code. */
  readonly code: bigint;
  run: AnyFunction;
  readonly #expired: AnyFunction;

  constructor(prototype: CallbackPrototype) {
    this.#expired = () => prototype.expired();
    this.run = this.#expired;
    this.native = registerFunction(prototype.enter(this) as never, prototype.pointer);
    try {
      const made = binding.callback(this.native, prototype.stackBytes);
      this.code = answered(made, 'make a callback', 'callbacks', REFUSED.callback);
    } catch (error) {
      ffi.unregister(this.native);
      throw error;
    }
  }

  /** From here on a call finds no function. */
  expire(): void {
    this.run = this.#expired;
  }

  release(): void {
    this.expire();
    binding.callbackRelease(this.code);
    released.push({ native: this.native, code: this.code });
    if (released.length <= TRAMPOLINES_KEPT) return;
    const at = released.findIndex(({ code }) => binding.callbackCalls(code) === 0);
    for (const { native } of at < 0 ? [] : released.splice(at, 1)) ffi.unregister(native);
  }
}

/*
 * Trampolines of koffi's whose thunks were released. A thread may have passed the thunk and not yet reached koffi,
 * which crashes when the trampoline is gone by then. Foreign threads are counted; those of async callouts are not, so
 * the last ones stay.
 */
const TRAMPOLINES_KEPT = 256;
const released: { readonly native: bigint; readonly code: bigint }[] = [];

let warned = false;

/** What is worked out once for a callback type: the plain prototype, and slots that wait for their next function. */
export class CallbackPrototype {
  /** The plain prototype, as a koffi pointer type. */
  readonly pointer: Type;
  readonly stackBytes: number;
  readonly #fixes: readonly (Fix | undefined)[];
  readonly #convertResult: ((value: unknown) => unknown) | undefined;
  readonly #reader: Reader;
  readonly #result: Type;
  readonly #idle: CallbackSlot[] = [];
  /* Slots whose address foreign code may still have: reused oldest first, and not soon. */
  readonly #left: CallbackSlot[] = [];

  constructor(info: PrototypeInfo, reader: Reader, convertResult: ConvertResult) {
    const plains = info.arguments.map((parameter) => plainOf(parameter.type));
    this.pointer = ffi.pointer(
      ffi.proto(
        info.result,
        plains.map((plain) => plain.type),
      ),
    );
    this.stackBytes = stackBytes(
      info.result,
      info.arguments.map((parameter) => parameter.type),
    );
    this.#fixes = plains.map((plain) => plain.fix);
    this.#convertResult = convertResult(info.result);
    this.#reader = reader;
    this.#result = info.result;
  }

  /**
   * The function koffi calls. A callback's own prototype is fixed, so plain ones get by without gathering their
   * arguments.
   */
  enter(slot: CallbackSlot): AnyFunction {
    const fixes = this.#fixes;
    const convert = this.#convertResult;
    const reader = this.#reader;
    if (convert === undefined && fixes.every((fix) => fix === undefined)) {
      switch (fixes.length) {
        case 0:
          return () => slot.run();
        case 1:
          return (a) => slot.run(a);
        case 2:
          return (a, b) => slot.run(a, b);
        case 3:
          return (a, b, c) => slot.run(a, b, c);
        case 4:
          return (a, b, c, d) => slot.run(a, b, c, d);
        default:
          return (...args) => slot.run(...args);
      }
    }
    return (...args) => {
      const { run } = slot;
      const values = reader.late(() =>
        args.map((value, index) => {
          const fix = fixes[index];
          return fix === undefined ? value : fix(value, reader);
        }),
      );
      const result = run(...values);
      return convert === undefined ? result : convert(result);
    };
  }

  /** A slot that runs `run`, until {@link giveBack}. */
  take(run: AnyFunction): CallbackSlot {
    const slot =
      this.#idle.pop() ?? (this.#left.length > LEFT_ALONE ? this.#left.shift() : undefined) ?? new CallbackSlot(this);
    slot.run = run;
    return slot;
  }

  /** Ends `take`. From here on a call through the slot finds no function, until the slot is taken again. */
  giveBack(slot: CallbackSlot): void {
    slot.expire();
    this.#idle.push(slot);
  }

  /** The same for a slot whose address foreign code was told to keep, and may use late. */
  leave(slot: CallbackSlot): void {
    slot.expire();
    this.#left.push(slot);
  }

  /**
   * What a callback that was ended does. In a callout its caller hears of it: it throws, as koffi does. A foreign
   * thread that calls has no caller in JavaScript: it gets a zero, and the program one warning.
   */
  expired(): unknown {
    if (binding.depth() > 0) throw new Error('Cannot use non-registered callback beyond FFI call');
    if (!warned) {
      warned = true;
      process.emitWarning(
        'foreign code called a callback after its end; it gets zeros, from now on without a warning',
        {
          type: 'TurnkeyCallbackWarning',
        },
      );
    }
    const result = plainOf(this.#result).type;
    return result.size === 0 ? undefined : ffi.decode(Buffer.alloc(result.size), result);
  }

  /** Releases what is idle; for the end of a guard. */
  close(): void {
    for (const slot of [...this.#idle.splice(0), ...this.#left.splice(0)]) slot.release();
  }
}

/* Addresses of ended registrations that are not reused. */
const LEFT_ALONE = 256;

let koffiCode: { readonly start: bigint; readonly end: bigint } | undefined;

/**
 * Whether `address` is one of koffi's own callback trampolines, which foreign code on a foreign stack must not call
 * directly.
 */
export function isKoffiTrampoline(address: bigint): boolean {
  if (koffiCode === undefined) {
    const probe = registerFunction((() => undefined) as never, ffi.pointer(ffi.proto('void', [])));
    const module = binding.modules().find((candidate) => probe >= candidate.start && probe < candidate.end);
    ffi.unregister(probe);
    if (module === undefined) throw new Error("koffi's code is in no module");
    koffiCode = module;
  }
  return address >= koffiCode.start && address < koffiCode.end;
}
