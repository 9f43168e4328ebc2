/**
 * Reading what a callee left behind: bounded copies through the gate, with the trap armed, then decoding from our own memory. A wild pointer is a
 * {@link DecodeFault}, which the caller makes a CalloutError of phase 'decode'.
 */
import { binding } from './binding.js';
import { ffi, type Type, type TypeSpec } from './koffi.js';
import { plainOf, type Reader } from './plain.js';
import { RECORD_BYTES } from './record.js';
import { wholeRecord, type CopiedRecord } from './thread.js';

/** A guarded read that faulted; never leaves the guard. `record`: the fault. */
export class DecodeFault {
  constructor(readonly record: CopiedRecord) {}
}

/** Bytes that one string or one counted array may have, unless the guard says otherwise. */
export const DEFAULT_DECODE_LIMIT = 16 * 1024 * 1024;

const PAGE = 4096n;

/* Copies fault rarely: one record serves them all and is replaced when it was used. */
let spare = new Uint8Array(RECORD_BYTES);

function fault(): DecodeFault {
  const record = spare;
  spare = new Uint8Array(RECORD_BYTES);
  return new DecodeFault(wholeRecord(record));
}

/** Copies `bytes` bytes at `address` into `destination`. Throws {@link DecodeFault}. */
export function copyGuarded(destination: Uint8Array, address: bigint, bytes: number): void {
  if (!binding.copy(destination, address, bytes, spare)) throw fault();
}

export class GuardedReader implements Reader {
  readonly #limit: number;
  readonly #dispose: (type: Type, pointer: bigint | null) => void;
  readonly #late: <T>(read: () => T) => T;

  /** `limit`: bytes. `late` turns a {@link DecodeFault} that comes after the call into an error. */
  constructor(limit: number, dispose: (type: Type, pointer: bigint | null) => void, late: <T>(read: () => T) => T) {
    this.#limit = limit;
    this.#dispose = dispose;
    this.#late = late;
  }

  string(address: bigint, unitBytes: number): string {
    const text = binding.copyString(address, unitBytes, Math.floor(this.#limit / unitBytes), spare);
    if (text === undefined) throw fault();
    if (text === null) throw this.#tooLong(`the string at 0x${address.toString(16)} has no terminator in`);
    return text;
  }

  values(address: bigint, type: Type, count: number): unknown {
    const bytes = count * type.size;
    if (bytes > this.#limit) throw this.#tooLong(`the array at 0x${address.toString(16)} (${count} of ${type.name}) is larger than`);
    const buffer = Buffer.allocUnsafeSlow(Math.max(bytes, 8));
    if (bytes > 0) copyGuarded(buffer, address, bytes);
    return this.fromOwn(buffer, 0, type, count);
  }

  dispose(type: Type, pointer: bigint | null): void { this.#dispose(type, pointer); }

  late<T>(read: () => T): T { return this.#late(read); }

  /** Decodes from memory of our own (a buffer, or an address in one). `count` undefined: one value. */
  fromOwn(memory: unknown, offset: number, type: Type, count?: number): unknown {
    const plain = plainOf(type);
    if (count === undefined) {
      const value = ffi.decode(memory, offset, plain.type);
      return plain.fix === undefined ? value : plain.fix(value, this);
    }
    const fix = plain.fix;
    const values = ffi.decode(memory, offset, plain.type, count);
    return fix === undefined ? values : (values as unknown[]).map(value => fix(value, this));
  }

  /** `koffi.decode(address, offset, type, count)` for memory that is not ours. */
  fromForeign(address: bigint, type: Type, count?: number): unknown {
    if (count === undefined || type.size === 0) {
      if (type.size === 0) return ffi.decode(Buffer.alloc(8), type);   /* koffi's own complaint */
      const buffer = Buffer.allocUnsafeSlow(type.size);
      copyGuarded(buffer, address, type.size);
      return this.fromOwn(buffer, 0, type);
    }
    return this.values(address, type, count >= 0 ? count : this.#terminatedCount(address, type));
  }

  /** Elements before a zero element, as koffi counts for a negative length. */
  #terminatedCount(address: bigint, type: Type): number {
    if (!/^(U?Int(8|16|32)|Pointer)$/.test(type.primitive)) throw new TypeError(`Cannot determine null-terminated length for type ${type.name}`);
    const unit = type.size;
    const chunk = Buffer.allocUnsafeSlow(Number(PAGE));
    for (let count = 0; count * unit < this.#limit;) {
      const at = address + BigInt(count * unit);
      /* Never past the page in one go: the terminator may be the last thing that is mapped. */
      const bytes = Math.max(unit, Math.floor(Number(PAGE - (at % PAGE)) / unit) * unit);
      copyGuarded(chunk, at, bytes);
      for (let offset = 0; offset < bytes; offset += unit, count++) {
        if (chunk.subarray(offset, offset + unit).every(byte => byte === 0)) return count;
      }
    }
    throw this.#tooLong(`the array at 0x${address.toString(16)} has no terminator in`);
  }

  #tooLong(what: string): RangeError {
    return new RangeError(`${what} ${this.#limit} bytes; if that is right, make the guard with a larger decodeLimit`);
  }
}

/** How `koffi.decode` was called: `(value, [offset], type, [length])`. */
export interface DecodeCall { readonly value: unknown; readonly offset: number; readonly type: Type; readonly length: number | undefined }

export function parseDecodeCall(args: readonly unknown[]): DecodeCall {
  const rest = args.slice(1);
  const offset = typeof rest[0] === 'number' || typeof rest[0] === 'bigint' ? Number(rest.shift()) : 0;
  const spec = rest[0];
  if (spec === undefined) throw new TypeError('Expected 2 to 4 arguments: value, [offset], type, [length]');
  const length = rest[1];
  return {
    value: args[0],
    offset,
    type: ffi.type(spec as TypeSpec),
    length: typeof length === 'number' || typeof length === 'bigint' ? Number(length) : undefined,
  };
}
