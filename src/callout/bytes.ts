/**
 * Buffers as arguments. A synchronous call has them in place: nothing else runs meanwhile. A call in flight cannot: its
 * buffer may be transferred, resized or collected under the callee. So it works on a copy, and what the callee wrote
 * arrives with the completion. A SharedArrayBuffer can be neither transferred nor shrunk: it is passed in place.
 */
import type { CallScope } from './arguments.js';
import { ffi } from './koffi.js';

export type Bytes = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

export function isBytes(value: unknown): value is Bytes {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer;
}

/** A window on all of `bytes`, or undefined if its buffer was detached, or shrunk to less than the view needs. */
function windowOn(bytes: Bytes): Uint8Array | undefined {
  try {
    if (!ArrayBuffer.isView(bytes)) return new Uint8Array(bytes);
    const { buffer, byteOffset, byteLength } = bytes;
    new Uint8Array(buffer, byteOffset); /* throws where the view is out of bounds, whose length reads 0 */
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch {
    return undefined;
  }
}

const GONE = 'The buffer is detached: it was transferred, and its bytes belong to somebody else.';

/**
 * What koffi is passed for a buffer argument.
 * @throws TypeError for a detached one; koffi would pass a null pointer
 */
export function passBytes(value: Bytes, scope: CallScope): unknown {
  const given = windowOn(value);
  if (given === undefined) throw new TypeError(GONE);
  if (!scope.inFlight || given.buffer instanceof SharedArrayBuffer || given.length === 0) return value;
  const copy = Buffer.allocUnsafeSlow(given.length);
  copy.set(given);
  scope.afterwards(() => {
    const now = windowOn(value);
    if (now === undefined || now.length < copy.length)
      throw new TypeError(
        `The buffer of ${copy.length} bytes was transferred or shrunk while the call was in flight: what the ` +
          'function wrote to it is lost. Keep it until the call has come back, or pass a SharedArrayBuffer or a loan.',
      );
    now.set(copy);
  });
  return ffi.address(copy);
}
