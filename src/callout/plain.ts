/**
 * Types whose decoding follows pointers, and what to do instead. koffi reads a string, a disposable, a counted pointer
 * as soon as it decodes it, with nothing to catch a wild pointer. So each such type has a *plain* twin of the same
 * layout that holds bare pointers, which koffi decodes harmlessly. By guarded copies, a *fix* turns the plain value
 * into the value that koffi would have given.
 */
import { countedBy, ffi, type Type } from './koffi.js';

/** What a fix needs: guarded reads, and the disposer. */
export interface Reader {
  /** The terminated string at `address`, units of 1, 2 or 4 bytes. */
  string(address: bigint, unitBytes: number): string;
  /** `count` values of `type` at `address`. */
  values(address: bigint, type: Type, count: number): unknown;
  /** Calls the disposer of `type` on `pointer`. */
  dispose(type: Type, pointer: bigint | null): void;
  /** Runs a read that happens after the call has returned; faults in it become CalloutErrors. */
  late<T>(read: () => T): T;
}

export type Fix = (value: unknown, reader: Reader) => unknown;

export interface Plain {
  /** Same layout and classification; no pointer is followed in decoding it. */
  readonly type: Type;
  /** `undefined` where the plain value is koffi's value already. */
  readonly fix: Fix | undefined;
}

const VOID_POINTER = ffi.type('void *');
const BYTE = ffi.type('uint8_t');

const plains = new WeakMap<object, Plain>();

/** The plain twin of `type`; `type` itself where koffi follows no pointer. */
export function plainOf(type: Type): Plain {
  let plain = plains.get(type);
  if (plain === undefined) {
    plain = makePlain(type);
    if (type.primitive !== 'Void') plains.set(type, plain); /* an opaque type may yet be defined */
  }
  return plain;
}

function makePlain(type: Type): Plain {
  switch (type.primitive) {
    case 'String':
      return stringPlain(type, 1);
    case 'String16':
      return stringPlain(type, 2);
    case 'String32':
      return stringPlain(type, 4);
    case 'Pointer':
      return type.disposable
        ? { type: VOID_POINTER, fix: disposing(type, (value) => value) }
        : { type, fix: undefined };
    case 'Array':
      return arrayPlain(type);
    case 'Record':
      return recordPlain(type);
    case 'Union':
      return unionPlain(type);
    default:
      return { type, fix: undefined };
  }
}

function stringPlain(type: Type, unitBytes: number): Plain {
  const read: Fix = (value, reader) => (value === null ? null : reader.string(value as bigint, unitBytes));
  return { type: VOID_POINTER, fix: type.disposable ? disposing(type, read) : read };
}

/* koffi disposes of the pointer once it has decoded it; so do we, unless decoding failed. */
function disposing(type: Type, read: Fix): Fix {
  return (value, reader) => {
    const result = read(value, reader);
    reader.dispose(type, value as bigint | null);
    return result;
  };
}

function arrayPlain(type: Type): Plain {
  const ref = type.ref as Type;
  const plain = plainOf(ref);
  const fix = plain.fix;
  if (fix === undefined) return { type, fix: undefined };
  const by = countedBy(type);
  const twin =
    by === undefined
      ? ffi.array(plain.type, type.length ?? 0, 'Array')
      : ffi.array(plain.type, by, type.length ?? 0, 'Array');
  return { type: twin, fix: (value, reader) => (value as unknown[]).map((element) => fix(element, reader)) };
}

interface Step {
  readonly name: string;
  readonly fix: Fix;
}

function recordPlain(type: Type): Plain {
  const steps: Step[] = [];
  const types = new Map<string, Type>();
  const counts: { readonly name: string; readonly by: string; readonly type: Type }[] = [];
  for (const member of Object.values(type.members ?? {})) {
    const by = member.type.primitive === 'Pointer' ? countedBy(member.type) : undefined;
    if (by !== undefined) {
      counts.push({ name: member.name, by, type: member.type });
      types.set(member.name, VOID_POINTER);
      continue;
    }
    const plain = plainOf(member.type);
    types.set(member.name, plain.type);
    if (plain.fix !== undefined) steps.push({ name: member.name, fix: plain.fix });
  }
  if (steps.length === 0 && counts.length === 0) return { type, fix: undefined };

  const fix: Fix = (value, reader) => {
    const record = value as Record<string, unknown>;
    for (const step of steps) record[step.name] = step.fix(record[step.name], reader);
    for (const counted of counts) {
      const pointer = record[counted.name] as bigint | null;
      const count = Number(BigInt.asUintN(32, BigInt(record[counted.by] as number | bigint)));
      record[counted.name] = reader.values(pointer ?? 0n, counted.type.ref as Type, count);
      if (counted.type.disposable) reader.dispose(counted.type, pointer);
    }
    return record;
  };
  return { type: sameLayout(type, types), fix };
}

/**
 * A struct with the layout of `type` and other member types. Gaps that no alignment explains become koffi's unnamed
 * member '_'.
 */
function sameLayout(type: Type, types: ReadonlyMap<string, Type>): Type {
  const definition: Record<string, unknown> = {};
  let end = 0;
  const pad = (to: number): void => {
    if ('_' in definition)
      throw new TypeError(`the layout of struct ${type.name} is not understood: more than one gap`);
    definition['_'] = [1, ffi.array(BYTE, to - end)];
    end = to;
  };
  for (const member of Object.values(type.members ?? {})) {
    const twin = types.get(member.name) as Type;
    let align = [1, 2, 4, 8].find((candidate) => Math.ceil(end / candidate) * candidate === member.offset);
    if (align === undefined) {
      pad(member.offset);
      align = 1;
    }
    /* The natural alignment where it fits; the first member's is the struct's own, which is the largest. */
    if (member.offset === 0) {
      align = type.alignment;
    } else if (
      member.offset % twin.alignment === 0 &&
      type.alignment >= twin.alignment &&
      Math.ceil(end / twin.alignment) * twin.alignment === member.offset
    ) {
      align = twin.alignment;
    }
    definition[member.name] = [align, twin];
    end = member.offset + twin.size;
  }
  if (Math.ceil(end / type.alignment) * type.alignment !== type.size) pad(type.size);
  const twin = ffi.struct(definition);
  if (twin.size !== type.size)
    throw new TypeError(
      `the layout of struct ${type.name} is not understood: ${twin.size} bytes instead of ${type.size}`,
    );
  return twin;
}

function unionPlain(type: Type): Plain {
  const members = Object.values(type.members ?? {});
  const fixes = new Map<string, Fix>();
  const definition: Record<string, unknown> = {};
  for (const member of members) {
    const plain = plainOf(member.type);
    definition[member.name] = plain.type;
    if (plain.fix !== undefined) fixes.set(member.name, plain.fix);
  }
  if (fixes.size === 0) return { type, fix: undefined };
  const twin = ffi.union(definition);
  return {
    type: twin,
    fix(value, reader) {
      const union = new ffi.Union(type);
      shadowUnion(union, type, { type: twin, value: value as Record<string, unknown> }, fixes, reader);
      return union;
    },
  };
}

interface PlainUnion {
  readonly type: Type;
  readonly value: Record<string, unknown>;
}

const shadowed = new WeakMap<object, PlainUnion>();

/*
 * Which member of a union is meant is known when it is read, which may be much later: each read is a guarded one.
 * Writing makes it koffi's own union again.
 */
function shadowUnion(
  union: Record<string, unknown>,
  type: Type,
  plain: PlainUnion,
  fixes: ReadonlyMap<string, Fix>,
  reader: Reader,
): void {
  const names = Object.keys(type.members ?? {});
  for (const name of names) {
    Object.defineProperty(union, name, {
      configurable: true,
      enumerable: true,
      get() {
        const fix = fixes.get(name);
        const value = plain.value[name];
        return fix === undefined ? value : reader.late(() => fix(value, reader));
      },
      set(value: unknown) {
        for (const other of names) Reflect.deleteProperty(union, other);
        shadowed.delete(union);
        union[name] = value;
      },
    });
  }
  shadowed.set(union, plain);
}

/** Puts the bytes at `address` into a user's union object, as koffi does for an out-parameter. */
export function fillUnion(union: Record<string, unknown>, type: Type, address: bigint, reader: Reader): void {
  const plain = plainOf(type);
  const fixes = new Map<string, Fix>();
  for (const member of Object.values(type.members ?? {})) {
    const fix = plainOf(member.type).fix;
    if (fix !== undefined) fixes.set(member.name, fix);
  }
  shadowUnion(
    union,
    type,
    { type: plain.type, value: ffi.decode(address, plain.type) as Record<string, unknown> },
    fixes,
    reader,
  );
}

/**
 * For a union that a guard decoded: koffi's own union with the same bytes, to be passed to koffi. `undefined` for any
 * other value.
 */
export function unshadowedUnion(value: unknown, type: Type, scratch: { readonly address: bigint }): unknown {
  const plain = typeof value === 'object' && value !== null ? shadowed.get(value) : undefined;
  if (plain === undefined) return undefined;
  ffi.encode(scratch.address, plain.type, plain.value);
  return ffi.decode(scratch.address, type);
}
