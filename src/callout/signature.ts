/**
 * Where the System V ABI for x86-64 puts arguments and results, as koffi sees it. That is the bytes passed on the
 * stack, which a thunk must copy, and whether a result goes through a hidden pointer. The classes follow the psABI,
 * section 3.2.3; sizes over 64 bytes are memory.
 */
import type { Type } from './koffi.js';

const INTEGER_REGISTERS = 6;
const VECTOR_REGISTERS = 8;

type Class = 'none' | 'integer' | 'sse' | 'memory';

function merge(a: Class, b: Class): Class {
  if (a === b || b === 'none') return a;
  if (a === 'none') return b;
  if (a === 'memory' || b === 'memory') return 'memory';
  return a === 'integer' || b === 'integer' ? 'integer' : 'sse';
}

/** Classifies `type` at `offset` bytes into eightbytes; returns how many eightbytes it spans. */
function classify(classes: Class[], type: Type, offset: number): number {
  const put = (value: Class): void => {
    const index = Math.floor(offset / 8);
    classes[index] = merge(classes[index] ?? 'none', value);
  };
  switch (type.primitive) {
    case 'Void':
      return 0;
    case 'Float32':
    case 'Float64':
      put('sse');
      break;
    case 'Record':
    case 'Union': {
      if (type.size > 64) {
        put('memory');
        return 1;
      }
      for (const member of Object.values(type.members ?? {}))
        classify(classes, member.type, offset + (type.primitive === 'Union' ? 0 : member.offset));
      return Math.ceil((offset + type.size) / 8);
    }
    case 'Array': {
      if (type.size > 64) {
        put('memory');
        return 1;
      }
      const ref = type.ref;
      if (ref === undefined) return 0;
      for (let at = 0; at < type.size; at += ref.size) classify(classes, ref, offset + at);
      return Math.ceil((offset + type.size) / 8);
    }
    default:
      put('integer');
  }
  return Math.floor(offset / 8) + 1;
}

/** Registers a value of `type` needs: `undefined` if it is passed in memory. */
function registersOf(type: Type): { readonly integer: number; readonly vector: number } | undefined {
  const classes: Class[] = [];
  const count = classify(classes, type, 0);
  if (count > 2) return undefined;
  let integer = 0;
  let vector = 0;
  for (let i = 0; i < count; i++) {
    const value = classes[i] ?? 'none';
    if (value === 'memory') return undefined;
    if (value === 'integer') integer++;
    else if (value === 'sse') vector++;
  }
  return { integer, vector };
}

/** Whether a result of `type` is written through a hidden first argument. */
export function returnedInMemory(type: Type): boolean {
  return (type.primitive === 'Record' || type.primitive === 'Union') && registersOf(type) === undefined;
}

interface Placed {
  /** Integer registers that the arguments take. */
  readonly integer: number;
  /** Bytes of arguments on the stack, a multiple of 8. */
  readonly bytes: number;
}

/* `result` matters because a hidden pointer takes the first integer register. */
function place(result: Type, parameters: readonly Type[]): Placed {
  let integer = returnedInMemory(result) ? 1 : 0;
  let vector = 0;
  let bytes = 0;
  for (const type of parameters) {
    const need = registersOf(type);
    if (need === undefined || integer + need.integer > INTEGER_REGISTERS || vector + need.vector > VECTOR_REGISTERS) {
      bytes += Math.ceil(type.size / 8) * 8;
    } else {
      integer += need.integer;
      vector += need.vector;
    }
  }
  return { integer, bytes };
}

/** Exact bytes of arguments on the stack, a multiple of 8. */
export function stackBytes(result: Type, parameters: readonly Type[]): number {
  return place(result, parameters).bytes;
}

/**
 * Where a ticket goes, an integer behind the declared arguments: the last word on the stack. `fillers`: integers in
 * between, which take what registers are left and make `stackBytes` a multiple of 16. A function does not miss
 * arguments that it did not declare.
 */
export function ticketPlace(
  result: Type,
  parameters: readonly Type[],
): { readonly fillers: number; readonly stackBytes: number } {
  const { integer, bytes } = place(result, parameters);
  const pad = (bytes + 8) % 16 === 0 ? 0 : 1;
  return { fillers: INTEGER_REGISTERS - integer + pad, stackBytes: bytes + 8 + 8 * pad };
}
