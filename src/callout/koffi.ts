/**
 * The one place in src that imports koffi. It types koffi as it is (koffi's own declarations lack directions). It also
 * notes two things that a guard must know and koffi does not tell: what `koffi.as()` cast, and which function disposes
 * of a disposable type. For that the default export's `as` and `disposable` are wrapped; they return what koffi's do.
 */
import koffi from 'koffi';

import { REAL } from './real.js';

/** koffi's names of what a type is. */
export type Primitive =
  | 'Void'
  | 'Bool'
  | 'Int8'
  | 'UInt8'
  | 'Int16'
  | 'Int16S'
  | 'UInt16'
  | 'UInt16S'
  | 'Int32'
  | 'Int32S'
  | 'UInt32'
  | 'UInt32S'
  | 'Int64'
  | 'Int64S'
  | 'UInt64'
  | 'UInt64S'
  | 'String'
  | 'String16'
  | 'String32'
  | 'Pointer'
  | 'Record'
  | 'Union'
  | 'Array'
  | 'Float32'
  | 'Float64'
  | 'Prototype'
  | 'Callback';

export type Direction = 'Input' | 'Output' | 'Input/Output';

export interface Member {
  readonly name: string;
  readonly type: Type;
  readonly offset: number;
}

export interface Parameter {
  readonly type: Type;
  readonly direction: Direction;
}

export interface PrototypeInfo {
  readonly name: string;
  readonly arguments: readonly Parameter[];
  readonly result: Type;
}

/** A koffi type object. Sizes and offsets are bytes. */
export interface Type {
  readonly name: string;
  readonly primitive: Primitive;
  readonly size: number;
  readonly alignment: number;
  readonly disposable: boolean;
  readonly length?: number;
  readonly hint?: 'Array' | 'Typed' | 'Buffer' | 'String';
  readonly ref?: Type;
  readonly members?: Readonly<Record<string, Member>>;
  readonly proto?: PrototypeInfo;
}

/** What koffi takes for a type: a name, a type object, or a direction marker of `koffi.out` / `koffi.inout`. */
export type TypeSpec = string | object;

/** A koffi function, and what a guard gives in its place. */
export interface ForeignFunction {
  (...args: unknown[]): unknown;
  async(...args: unknown[]): void;
  readonly info: PrototypeInfo;
}

export interface Cast {
  readonly value: unknown;
  readonly type: Type;
}

const casts = new WeakMap<object, Cast>();
const disposers = new WeakMap<object, ((pointer: bigint | null) => unknown) | null>();

/* koffi's own declarations say too little (directions) or too much (overloads) for the calls made here. */
interface Koffi {
  as(value: unknown, type: TypeSpec): object;
  disposable(...args: unknown[]): Type;
  type(spec: TypeSpec): Type;
  proto(...args: unknown[]): Type;
  struct(name: string, members: Record<string, unknown>): Type;
  struct(members: Record<string, unknown>): Type;
  union(members: Record<string, unknown>): Type;
  array(ref: TypeSpec, ...args: unknown[]): Type;
  pointer(ref: TypeSpec): Type;
  out(type: TypeSpec): object;
  inout(type: TypeSpec): object;
  decode(value: unknown, ...args: unknown[]): unknown;
  encode(value: unknown, ...args: unknown[]): void;
  register(callback: (...args: never[]) => unknown, type: TypeSpec): bigint;
  unregister(callback: bigint): void;
  address(value: unknown): bigint;
  load(
    path: string | null,
    options?: object,
  ): {
    func(...args: unknown[]): ForeignFunction;
    symbol(name: string): bigint;
    unload(): void;
  };
  readonly Union: new (type: TypeSpec) => Record<string, unknown>;
}

/* Under `turnkey/register` the module is a guarded one, and keeps koffi's own. */
export const ffi = ((koffi as { readonly [REAL]?: unknown })[REAL] ?? koffi) as Koffi;

const WRAPPED = Symbol.for('turnkey.koffi.wrapped');
type Wrappable = Koffi & { [WRAPPED]?: boolean };

if ((ffi as Wrappable)[WRAPPED] !== true) {
  const { as: plainAs, disposable } = ffi;
  ffi.as = function (value, type) {
    const cast = plainAs(value, type);
    casts.set(cast, { value, type: ffi.type(type) });
    return cast;
  };
  ffi.disposable = function (...args) {
    const type = disposable(...args);
    const last = args[args.length - 1];
    disposers.set(type, typeof last === 'function' ? (last as (pointer: bigint | null) => unknown) : null);
    return type;
  };
  (ffi as Wrappable)[WRAPPED] = true;
}

let ready = false;

/*
 * koffi allocates the memory of synchronous calls, and of their callbacks, when a library is first loaded. A function
 * or a callback made before that crashes when it is called. Not earlier than needed: from then on koffi refuses to be
 * configured.
 */
function prepare(): void {
  if (!ready) ffi.load(null);
  ready = true;
}

/** koffi's function for the code at `address`. The one way to make one, whatever came before. */
export function functionAt(address: bigint, type: Type): ForeignFunction {
  prepare();
  return ffi.decode(address, type) as ForeignFunction;
}

/** koffi's code address for a JavaScript function. The one way to make one, whatever came before. */
export function registerFunction(callback: (...args: never[]) => unknown, type: TypeSpec): bigint {
  prepare();
  return ffi.register(callback, type);
}

/** `koffi.decode` itself, for memory that needs no guard. A prototype type makes a function. */
export const decodeBare = Object.assign((...call: unknown[]): unknown => {
  prepare();
  return ffi.decode(...(call as [unknown]));
}, ffi.decode);

/** What `koffi.as()` cast, if `value` is such a cast and was made through koffi's default export or by {@link as}. */
export function castOf(value: unknown): Cast | undefined {
  return typeof value === 'object' && value !== null ? casts.get(value) : undefined;
}

/**
 * The disposer of a disposable type: a function, `null` for the C library's free(), `undefined` if this module does not
 * know (the type was made through koffi's named export, which cannot be watched).
 */
export function disposerOf(type: Type): ((pointer: bigint | null) => unknown) | null | undefined {
  return disposers.get(type);
}

/** Records that `type` was written with '!' in a prototype: free(). */
export function noteFreed(type: Type): void {
  if (type.disposable && !disposers.has(type)) disposers.set(type, null);
}

/** `koffi.as()`, for users who import koffi by name: a cast that a guard can decode after the call. */
export function as(value: unknown, type: TypeSpec): object {
  return ffi.as(value, type);
}

const counted = new WeakMap<object, string | false>();

/**
 * The member that counts a pointer or flexible array (`koffi.pointer(name, ref, countedBy)`, `koffi.array(ref,
 * countedBy, max)`), or `undefined`. koffi does not describe it; it names it when a struct lacks it, and keeps nothing
 * of the struct it refused.
 */
export function countedBy(type: Type): string | undefined {
  if (type.primitive !== 'Pointer' && type.primitive !== 'Array') return undefined;
  let found = counted.get(type);
  if (found === undefined) {
    found = false;
    try {
      ffi.struct({ turnkey_counted: type });
    } catch (error) {
      const match = /does not have member '([^']+)'/.exec(error instanceof Error ? error.message : '');
      if (match?.[1] === undefined) throw error;
      found = match[1];
    }
    counted.set(type, found);
  }
  return found === false ? undefined : found;
}
