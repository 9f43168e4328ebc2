/**
 * Arguments that koffi must not marshal itself in a guarded call. It would decode out-parameters afterwards, and the
 * addresses of functions must be thunks. The others are loans, buffers that may go away, and unions that a guard
 * decoded. Everything else is passed to koffi as it came.
 */
import { types } from 'node:util';

import { isBytes, passBytes } from './bytes.js';
import type { CallbackPrototype, CallbackSlot } from './callback.js';
import { castOf, ffi, type Parameter, type Type } from './koffi.js';
import type { ArgumentLender } from './lend-arguments.js';
import { type Arena, borrowArena, type Region, returnArena, syncArena } from './memory.js';
import { fillUnion, plainOf, type Reader, unshadowedUnion } from './plain.js';
import { type InUse, isLoan, lentAddress, type Loan, useOf } from './vm.js';

/** What arguments need of their guard. */
export interface ArgumentHost {
  readonly reader: Reader & { fromOwn(memory: unknown, offset: number, type: Type, count?: number): unknown };
  callbackPrototype(type: Type): CallbackPrototype;
  /**
   * A code address that foreign code may call, for a function pointer given as a number: koffi's trampolines get a
   * thunk.
   */
  callableAddress(pointer: bigint, type: Type): bigint;
  /** For a guard that lends what arguments point to. */
  readonly lend?: ArgumentLender | undefined;
}

type JsFunction = (...args: unknown[]) => unknown;

/** One call's arguments: memory, callbacks and loans that it uses, and what is to be done when it has returned. */
export class CallScope {
  /** The call was passed a loan. */
  lent = false;
  readonly host: ArgumentHost;
  /** The call outlives this turn of the event loop. */
  readonly inFlight: boolean;
  readonly #arena: Arena;
  readonly #mark: number;
  readonly #uses: InUse[];
  readonly #slots: { readonly prototype: CallbackPrototype; readonly slot: CallbackSlot }[] = [];
  readonly #after: (() => void)[] = [];
  readonly #loans: Loan[] = [];
  #over = false;

  /** `uses`: for a call in flight, what it keeps from being given back. */
  constructor(host: ArgumentHost, uses?: readonly InUse[]) {
    this.host = host;
    this.inFlight = uses !== undefined;
    this.#arena = this.inFlight ? borrowArena() : syncArena; /* the latter is a stack */
    this.#mark = this.#arena.mark();
    this.#uses = [];
    for (const use of uses ?? []) this.use(use);
  }

  take(bytes: number): Region {
    return this.#arena.take(bytes);
  }

  callback(type: Type, run: JsFunction): bigint {
    const prototype = this.host.callbackPrototype(type);
    const slot = prototype.take(run);
    this.#slots.push({ prototype, slot });
    return slot.code;
  }

  /** The address of a loan, which stays while the call is in progress. */
  lend(loan: Loan): bigint {
    const address = lentAddress(loan);
    this.lent = true;
    this.use(useOf(loan));
    return address;
  }

  /** The address of a loan of what `value` points to, if the guard lends that; else `value`. */
  lendTarget(value: unknown, parameter: Parameter): unknown {
    if (typeof value !== 'bigint' && !Number.isSafeInteger(value)) return value;
    const made = this.host.lend?.(BigInt(value as bigint | number), parameter);
    if (made === undefined) return value;
    this.#loans.push(made.loan);
    if (made.finish !== undefined) this.afterwards(made.finish);
    return this.lend(made.loan);
  }

  use(use: InUse): void {
    use.begin();
    this.#uses.push(use);
  }

  /** To be done after a call that did not fail, in order. */
  afterwards(action: () => void): void {
    this.#after.push(action);
  }

  finish(): void {
    for (const action of this.#after) action();
  }

  release(): void {
    if (this.#over) return;
    this.#over = true;
    for (const { prototype, slot } of this.#slots) prototype.giveBack(slot);
    if (this.inFlight) returnArena(this.#arena);
    else this.#arena.release(this.#mark);
    for (const use of this.#uses) use.end();
    for (const loan of this.#loans) loan.release();
  }
}

export type Converter = (value: unknown, scope: CallScope) => unknown;

/** How much of the work a parameter of this type needs: none, recognising loans, or a converter. */
export type Need = 'none' | 'loan' | 'convert';

const POINTERS = new Set(['Pointer', 'String', 'String16', 'String32']);

/** `lends`: the guard lends what arguments point to. */
export function needOf(parameter: Parameter, lends: boolean): Need {
  if (parameter.direction !== 'Input') return 'convert';
  if (hasSpecials(parameter.type)) return 'convert';
  if (!POINTERS.has(parameter.type.primitive)) return 'none';
  return lends ? 'convert' : 'loan';
}

export function converterOf(parameter: Parameter): Converter {
  const { type, direction } = parameter;
  const convert: Converter =
    direction === 'Input'
      ? (value, scope) => convertIn(value, type, scope)
      : (value, scope) => convertOut(value, type, direction === 'Input/Output', scope);
  if (!POINTERS.has(type.primitive)) return convert;
  return (value, scope) => convert(scope.lendTarget(value, parameter), scope);
}

const specials = new WeakMap<object, boolean>();

/** Whether a value of this type may hold functions, or unions that a guard decoded. */
function hasSpecials(type: Type): boolean {
  const known = specials.get(type);
  if (known !== undefined) return known;
  specials.set(type, false); /* a type that points to itself adds nothing by that */
  let found = false;
  switch (type.primitive) {
    case 'Callback':
      found = true;
      break;
    case 'Pointer':
    case 'Array':
      found = type.ref !== undefined && hasSpecials(type.ref);
      break;
    case 'Union':
      found = plainOf(type).fix !== undefined || memberSpecials(type);
      break;
    case 'Record':
      found = memberSpecials(type);
      break;
    default:
  }
  if (type.primitive === 'Void') specials.delete(type); /* an opaque type may yet be defined */
  else specials.set(type, found);
  return found;
}

function memberSpecials(type: Type): boolean {
  return Object.values(type.members ?? {}).some((member) => hasSpecials(member.type));
}

const pointers = new WeakMap<object, boolean>();

/** Whether a value of this type may hold pointers, and so the bytes of buffers. */
function hasPointers(type: Type): boolean {
  const known = pointers.get(type);
  if (known !== undefined) return known;
  const inside =
    type.primitive === 'Array'
      ? type.ref === undefined
        ? []
        : [type.ref]
      : Object.values(type.members ?? {}).map((member) => member.type);
  const found = POINTERS.has(type.primitive) || inside.some(hasPointers);
  if (type.primitive !== 'Void') pointers.set(type, found);
  return found;
}

/** Whether what is given for this type, an array or object, may hold pointers in turn. */
function nestsPointers(type: Type): boolean {
  return type.primitive === 'Pointer' ? type.ref !== undefined && hasPointers(type.ref) : hasPointers(type);
}

function isMemory(value: unknown): boolean {
  return value === null || value === undefined || typeof value === 'bigint' || typeof value === 'number';
}

/** A value on its way in, as koffi can take it. */
export function convertIn(value: unknown, type: Type, scope: CallScope): unknown {
  if (type.primitive === 'Callback') {
    if (typeof value === 'function') return scope.callback(type, value as JsFunction);
    if (typeof value === 'bigint' || typeof value === 'number') return scope.host.callableAddress(BigInt(value), type);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (isLoan(value)) return scope.lend(value);
  const cast = castOf(value);
  if (cast !== undefined) {
    const inner = hasSpecials(cast.type) || isBytes(cast.value) ? convertIn(cast.value, cast.type, scope) : cast.value;
    return inner === cast.value ? value : ffi.as(inner, cast.type);
  }
  if (isBytes(value)) return POINTERS.has(type.primitive) ? passBytes(value, scope) : value;
  if (!hasSpecials(type) && !(scope.inFlight && nestsPointers(type))) return value;
  switch (type.primitive) {
    case 'Pointer':
      return Array.isArray(value)
        ? value.map((element: unknown) => convertIn(element, type.ref as Type, scope))
        : convertIn(value, type.ref as Type, scope);
    case 'Array':
      return Array.isArray(value)
        ? value.map((element: unknown) => convertIn(element, type.ref as Type, scope))
        : value;
    case 'Union': {
      const own = unshadowedUnion(value, type, scope.take(type.size));
      if (own !== undefined) return own;
      return value instanceof ffi.Union || Object.keys(value).length !== 1
        ? value
        : convertMembers(value as Record<string, unknown>, type, scope);
    }
    case 'Record':
      return convertMembers(value as Record<string, unknown>, type, scope);
    default:
      return value;
  }
}

function convertMembers(value: Record<string, unknown>, type: Type, scope: CallScope): Record<string, unknown> {
  const result = { ...value };
  for (const member of Object.values(type.members ?? {})) {
    if (member.name in value) result[member.name] = convertIn(value[member.name], member.type, scope);
  }
  return result;
}

/* What a string pointer points to; koffi's string types do not say. */
const CHARACTERS = {
  String: ffi.type('char'),
  String16: ffi.type('char16_t'),
  String32: ffi.type('char32_t'),
} as const;

function pointedTo(type: Type): Type {
  return type.ref ?? CHARACTERS[type.primitive as keyof typeof CHARACTERS];
}

/**
 * An out- or in-out argument: encoded into memory of ours, passed as its address, decoded from there after the call.
 * Memory that the user brought is passed as it is, as koffi does.
 */
function convertOut(value: unknown, type: Type, alsoIn: boolean, scope: CallScope): unknown {
  if (isBytes(value)) return passBytes(value, scope);
  if (isMemory(value)) return value;
  if (typeof value === 'object' && value !== null) {
    if (isLoan(value)) return scope.lend(value);
    const cast = castOf(value);
    if (cast !== undefined) return convertOut(cast.value, cast.type, alsoIn, scope);
  }
  const ref = pointedTo(type);
  if (Array.isArray(value)) return convertOutArray(value, ref, alsoIn, scope);
  if (typeof value === 'object' && value !== null) {
    if (ref.primitive === 'Record') return convertOutRecord(value as Record<string, unknown>, ref, alsoIn, scope);
    if (ref.primitive === 'Union') return convertOutUnion(value as Record<string, unknown>, ref, alsoIn, scope);
    if (types.isExternal(value)) {
      throw new TypeError(
        'this cast cannot be decoded after the call: koffi keeps what it casts to itself; use as() from ' +
          "turnkey, or as() of koffi's default export",
      );
    }
  }
  return value; /* koffi's own complaint */
}

function convertOutArray(value: unknown[], ref: Type, alsoIn: boolean, scope: CallScope): unknown {
  if (value.length === 1 && typeof value[0] === 'string') {
    const text = convertOutText(value as [string], ref, scope);
    if (text !== undefined) return text;
  }
  if (ref.size === 0) return value; /* koffi's own complaint */
  const count = value.length;
  const region = scope.take(count * ref.size);
  if (alsoIn && count > 0) {
    const given = hasSpecials(ref) ? value.map((element) => convertIn(element, ref, scope)) : value;
    ffi.encode(region.address, ref, given, count);
  }
  scope.afterwards(() => {
    for (let i = 0; i < count; i++) value[i] = scope.host.reader.fromOwn(region.address, i * ref.size, ref);
  });
  return region.address;
}

/*
 * `['\0'.repeat(n)]`: a text buffer, decoded up to its terminator. The unit is the pointed-to integer's; bytes behind
 * void *.
 */
function convertOutText(value: [string], ref: Type, scope: CallScope): bigint | undefined {
  const unit =
    ref.primitive === 'Int8' || ref.primitive === 'Void'
      ? 1
      : ref.primitive === 'Int16'
        ? 2
        : ref.primitive === 'Int32'
          ? 4
          : 0;
  if (unit === 0 || (ref.primitive === 'Void' && ref.name !== 'void')) return undefined;
  const text =
    unit === 1 ? Buffer.from(value[0], 'utf8') : unit === 2 ? Buffer.from(value[0], 'utf16le') : utf32(value[0]);
  const region = scope.take(text.length + unit);
  text.copy(region.bytes);
  scope.afterwards(() => {
    let end = 0;
    while (end < text.length + unit && !region.bytes.subarray(end, end + unit).every((byte) => byte === 0)) end += unit;
    const used = region.bytes.subarray(0, end);
    value[0] =
      unit === 1
        ? used.toString('utf8')
        : unit === 2
          ? used.toString('utf16le')
          : end === 0
            ? ''
            : (scope.host.reader.fromOwn(region.address, 0, CHARACTERS.String32, end / 4) as string);
  });
  return region.address;
}

function utf32(text: string): Buffer {
  const points = Array.from(text, (character) => character.codePointAt(0) as number);
  const buffer = Buffer.alloc(points.length * 4);
  points.forEach((point, index) =>
    buffer.writeUInt32LE(point >= 0xd800 && point <= 0xdfff ? 0xfffd : point, index * 4),
  );
  return buffer;
}

function convertOutRecord(value: Record<string, unknown>, ref: Type, alsoIn: boolean, scope: CallScope): bigint {
  const region = scope.take(ref.size);
  if (alsoIn) ffi.encode(region.address, ref, hasSpecials(ref) ? convertIn(value, ref, scope) : value);
  scope.afterwards(() => Object.assign(value, scope.host.reader.fromOwn(region.address, 0, ref)));
  return region.address;
}

function convertOutUnion(value: Record<string, unknown>, ref: Type, alsoIn: boolean, scope: CallScope): unknown {
  if (plainOf(ref).fix === undefined || !(value instanceof Object))
    return value; /* koffi copies the bytes and follows nothing */
  const region = scope.take(ref.size);
  if (alsoIn) ffi.encode(region.address, ref, convertIn(value, ref, scope));
  scope.afterwards(() => fillUnion(value, ref, region.address, scope.host.reader));
  return region.address;
}
