/**
 * Callbacks: JavaScript functions as code addresses that foreign code may call. koffi registers the function, the trap
 * wraps koffi's address so that the call leaves the foreign stack and rights and comes back to them. Pointers that
 * foreign code passes are decoded by guarded reads.
 */
import { binding } from './binding.js';
import { ffi, type PrototypeInfo, type Type } from './koffi.js';
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
  run: AnyFunction = expired;

  constructor(prototype: CallbackPrototype) {
    this.native = ffi.register(prototype.enter(this), prototype.pointer);
    try {
      this.code = binding.callback(this.native, prototype.stackBytes);
    } catch (error) {
      ffi.unregister(this.native);
      throw error;
    }
  }

  release(): void {
    binding.callbackRelease(this.code);
    ffi.unregister(this.native);
  }
}

function expired(): never {
  throw new Error('Cannot use non-registered callback beyond FFI call');
}

/** What is worked out once for a callback type: the plain prototype, and slots that wait for their next function. */
export class CallbackPrototype {
  /** The plain prototype, as a koffi pointer type. */
  readonly pointer: Type;
  readonly stackBytes: number;
  readonly #fixes: readonly (Fix | undefined)[];
  readonly #convertResult: ((value: unknown) => unknown) | undefined;
  readonly #reader: Reader;
  readonly #idle: CallbackSlot[] = [];

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
    const slot = this.#idle.pop() ?? new CallbackSlot(this);
    slot.run = run;
    return slot;
  }

  /** From here on a call through the slot is an error, until it is taken again. */
  giveBack(slot: CallbackSlot): void {
    slot.run = expired;
    this.#idle.push(slot);
  }

  /** Releases what is idle; for the end of a guard. */
  close(): void {
    for (const slot of this.#idle.splice(0)) slot.release();
  }
}

let koffiCode: { readonly start: bigint; readonly end: bigint } | undefined;

/**
 * Whether `address` is one of koffi's own callback trampolines, which foreign code on a foreign stack must not call
 * directly.
 */
export function isKoffiTrampoline(address: bigint): boolean {
  if (koffiCode === undefined) {
    const probe = ffi.register(() => undefined, ffi.pointer(ffi.proto('void', [])));
    const module = binding.modules().find((candidate) => probe >= candidate.start && probe < candidate.end);
    ffi.unregister(probe);
    if (module === undefined) throw new Error("koffi's code is in no module");
    koffiCode = module;
  }
  return address >= koffiCode.start && address < koffiCode.end;
}
