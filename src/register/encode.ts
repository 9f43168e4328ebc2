/**
 * `koffi.encode` to an address: koffi would write there itself, as the VM. Here the value is encoded into a copy of the
 * bytes that are there, and a guarded memcpy carries it over, so that a wild pointer is a CalloutError.
 */
import type { Guard, UntypedFunction } from '../callout/index.js';
import { ffi, type TypeSpec } from '../callout/koffi.js';

const isSpec = (value: unknown): value is TypeSpec => typeof value === 'string' || typeof value === 'object';

/** `encode(ref, [offset], type, value, [length])` as koffi has it. */
export function encoder(guard: Guard): UntypedFunction {
  let copy: UntypedFunction | undefined;
  return (ref, ...rest) => {
    const [offset, spec, value, length] = typeof rest[0] === 'number' ? rest : [0, ...rest];
    const count = typeof length === 'number' ? length : 1;
    const bytes = isSpec(spec) ? ffi.type(spec).size * count : 0;
    // memory of JavaScript's, whose bounds koffi knows; or what koffi will complain about
    if (typeof ref !== 'bigint' || !(bytes > 0)) {
      ffi.encode(ref, ...rest);
      return;
    }
    const target = ref + BigInt(offset as number);
    const buffer = guard.decode(target, ffi.array('uint8', bytes, 'Typed')) as Uint8Array;
    ffi.encode(buffer, spec, value, ...(length === undefined ? [] : [length]));
    copy ??= memcpyOf(guard);
    copy(target, buffer, bytes);
  };
}

function memcpyOf(guard: Guard): UntypedFunction {
  return guard.load(null).func('memcpy', 'void *', ['uintptr_t', 'void *', 'size_t']);
}
