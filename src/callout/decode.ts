/**
 * Reading what a callee left behind: bounded copies through the gate, with the trap armed, then decoding from our own
 * memory. A wild pointer is a
 * {@link DecodeFault}, which the caller makes a CalloutError of phase 'decode'.
 */
import { binding } from './binding.js';
import { ffi, type Type, type TypeSpec } from './koffi.js';
import { plainOf, type Reader } from './plain.js';
import type { CopiedRecord } from './record.js';
import { RECORD_BYTES } from './record.js';
import { wholeRecord } from './thread.js';

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
    this.checkSize(bytes, address);
    const buffer = Buffer.allocUnsafeSlow(Math.max(bytes, 8));
    if (bytes > 0) copyGuarded(buffer, address, bytes);
    return this.fromOwn(buffer, 0, type, count);
  }

  /** Throws a RangeError if `bytes` at `address` are more than one value may have. */
  checkSize(bytes: number, address: bigint): void {
    if (!(bytes >= 0 && bytes <= this.#limit))
      throw this.#tooLong(`the ${bytes} bytes at 0x${address.toString(16)} are more than`);
  }

  dispose(type: Type, pointer: bigint | null): void {
    this.#dispose(type, pointer);
  }

  late<T>(read: () => T): T {
    return this.#late(read);
  }

  /** Decodes from memory of our own (a buffer, or an address in one). `count` undefined: one value. */
  fromOwn(memory: unknown, offset: number, type: Type, count?: number): unknown {
    const plain = plainOf(type);
    if (count === undefined) {
      const value = ffi.decode(memory, offset, plain.type);
      return plain.fix === undefined ? value : plain.fix(value, this);
    }
    const fix = plain.fix;
    const values = ffi.decode(memory, offset, plain.type, count);
    return fix === undefined ? values : (values as unknown[]).map((value) => fix(value, this));
  }

  /** `koffi.decode(address, offset, type, count)` for memory that is not ours. */
  fromForeign(address: bigint, type: Type, count?: number): unknown {
    if (count === undefined || type.size === 0) {
      if (type.size === 0) return ffi.decode(Buffer.alloc(8), type); /* koffi's own complaint */
      const buffer = Buffer.allocUnsafeSlow(type.size);
      copyGuarded(buffer, address, type.size);
      return this.fromOwn(buffer, 0, type);
    }
    return this.values(address, type, count >= 0 ? count : this.#terminatedCount(address, type));
  }

  /** Elements before a zero element, as koffi counts for a negative length. */
  #terminatedCount(address: bigint, type: Type): number {
    if (!/^(U?Int(8|16|32)|Pointer)$/.test(type.primitive))
      throw new TypeError(`Cannot determine null-terminated length for type ${type.name}`);
    const unit = type.size;
    const chunk = Buffer.allocUnsafeSlow(Number(PAGE));
    for (let count = 0; count * unit < this.#limit;) {
      const at = address + BigInt(count * unit);
      /* Never past the page in one go: the terminator may be the last thing that is mapped. */
      const bytes = Math.max(unit, Math.floor(Number(PAGE - (at % PAGE)) / unit) * unit);
      copyGuarded(chunk, at, bytes);
      for (let offset = 0; offset < bytes; offset += unit, count++) {
        if (chunk.subarray(offset, offset + unit).every((byte) => byte === 0)) return count;
      }
    }
    throw this.#tooLong(`the array at 0x${address.toString(16)} has no terminator in`);
  }

  #tooLong(what: string): RangeError {
    return new RangeError(`${what} ${this.#limit} bytes; if that is right, make the guard with a larger decodeLimit`);
  }
}

/** How `koffi.decode` was called: `(value, [offset], type, [length])`. */
export interface DecodeCall {
  readonly value: unknown;
  readonly offset: number;
  readonly type: Type;
  readonly length: number | undefined;
}

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

/* Bytes of what koffi.decode.NAME reads. */
const NUMBER_BYTES: Readonly<Record<string, number>> = {
  char: 1,
  uchar: 1,
  short: 2,
  ushort: 2,
  int: 4,
  uint: 4,
  long: 8,
  ulong: 8,
  longlong: 8,
  ulonglong: 8,
  float: 4,
  double: 8,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  int16le: 2,
  uint16le: 2,
  int32le: 4,
  uint32le: 4,
  int64le: 8,
  uint64le: 8,
  int16be: 2,
  uint16be: 2,
  int32be: 4,
  uint32be: 4,
  int64be: 8,
  uint64be: 8,
};
/* Bytes of a unit of what koffi.decode.NAME reads up to a terminator. */
const UNIT_BYTES: Readonly<Record<string, number>> = { string: 1, string16: 2, string32: 4, wstring: 4 };

export type NumberDecoder =
  | 'char'
  | 'uchar'
  | 'short'
  | 'ushort'
  | 'int'
  | 'uint'
  | 'long'
  | 'ulong'
  | 'longlong'
  | 'ulonglong'
  | 'float'
  | 'double'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'int16le'
  | 'uint16le'
  | 'int32le'
  | 'uint32le'
  | 'int64le'
  | 'uint64le'
  | 'int16be'
  | 'uint16be'
  | 'int32be'
  | 'uint32be'
  | 'int64be'
  | 'uint64be';

/** `koffi.decode` with its named decoders. */
export type Decoder = ((...call: unknown[]) => unknown) &
  Readonly<Record<NumberDecoder, (pointer: unknown) => number | bigint>> &
  Readonly<
    Record<'string' | 'string16' | 'string32' | 'wstring', (pointer: unknown, length?: number | bigint) => string>
  >;

/** Gives `decode` the named decoders. `guarded` runs a read so that its fault is an error that names the caller. */
export function withNamedDecoders(
  decode: (...call: unknown[]) => unknown,
  reader: GuardedReader,
  guarded: (args: readonly unknown[], entry: (...args: never[]) => unknown, read: () => unknown) => unknown,
): Decoder {
  const bare = ffi.decode as unknown as Readonly<Record<string, (...args: unknown[]) => unknown>>;
  const named: Record<string, (...args: unknown[]) => unknown> = {};
  const add = (
    name: string,
    read: (pointer: bigint, length: number | undefined, koffis: (...args: unknown[]) => unknown) => unknown,
  ): void => {
    const koffis = bare[name];
    if (koffis === undefined) return;
    const entry = (pointer: unknown, length?: unknown): unknown => {
      if (typeof pointer !== 'bigint' && typeof pointer !== 'number')
        return koffis(pointer, ...(length === undefined ? [] : [length])); /* memory of our own */
      return guarded([pointer], entry, () =>
        read(BigInt.asUintN(64, BigInt(pointer)), length === undefined ? undefined : Number(length), koffis),
      );
    };
    Object.defineProperty(entry, 'name', { value: `decode.${name}` });
    named[name] = entry;
  };
  const copied = (pointer: bigint, bytes: number): Buffer => {
    const buffer = Buffer.allocUnsafeSlow(Math.max(bytes, 8));
    copyGuarded(buffer, pointer, bytes);
    return buffer;
  };
  for (const [name, bytes] of Object.entries(NUMBER_BYTES))
    add(name, (pointer, _length, koffis) => koffis(copied(pointer, bytes)));
  for (const [name, unit] of Object.entries(UNIT_BYTES)) {
    add(name, (pointer, length, koffis) => {
      if (length === undefined) return reader.string(pointer, unit);
      reader.checkSize(length * unit, pointer);
      return koffis(copied(pointer, length * unit), length);
    });
  }
  return Object.assign(decode, named) as unknown as Decoder;
}
