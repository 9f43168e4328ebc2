/** This environment's thread as the trap sees it: its fault record, read through shared memory (a typed array over it costs a nanosecond, a call 500). */
import { binding } from './binding.js';

const view = binding.faultView();

/** The record's words; the first is not 0 while a fault waits to be taken. */
export const threadRecord = new Uint32Array(view);

const bytes = new Uint8Array(view);

/** Copies the record and clears it. */
export function takeFault(): Uint8Array {
  const copy = bytes.slice();
  threadRecord[0] = 0;
  return copy;
}
