/**
 * Where the System V ABI for x86-64 puts arguments and results, as koffi sees it: the bytes passed on the stack, which
 * a thunk must copy, and whether a result goes through a hidden pointer. The classes follow the psABI, section 3.2.3;
 * sizes over 64 bytes are memory.
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

/**
 * Exact bytes of arguments on the stack, a multiple of 8. `result` matters because a hidden pointer takes the first
 * integer register.
 */
export function stackBytes(result: Type, parameters: readonly Type[]): number {
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
  return bytes;
}
