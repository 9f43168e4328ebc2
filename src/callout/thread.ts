/**
 * This environment's thread as the trap sees it: its fault record, read through shared memory (a typed array over it
 * costs a nanosecond, a call 500).
 */
import { binding } from './binding.js';
import { answered } from './failure.js';
import { type CopiedRecord, recordLayout, WORD } from './record.js';

const view = answered(binding.faultView(), 'attach this thread to the trap');

/** The record's words; the first is not 0 while a fault waits to be taken. */
export const threadRecord = new Uint32Array(view);

/*
 * Copies are cut from slabs: an ArrayBuffer for each would cost more than the copy. A slab lives as long as an error
 * that has a record in it. Its memory is not zeroed, which would cost as much again; an error sees no more of it than
 * was copied.
 */
const SLAB_WORDS = 16384;
let slab = newSlab();
let used = 0;

function newSlab(): Uint32Array {
  return new Uint32Array(Buffer.allocUnsafeSlow(SLAB_WORDS * WORD).buffer);
}

const STACK = recordLayout.stack / WORD;
const STACK_WORDS = recordLayout.stackWords / WORD;
/* What is copied of a record with so many words of stack: a view for each, made once. */
const parts: (Uint32Array | undefined)[] = [];

/** Copies this thread's record and clears it. */
export function takeFault(): CopiedRecord {
  const count = threadRecord[STACK_WORDS] as number;
  const part = (parts[count] ??= threadRecord.subarray(0, STACK + 2 * count));
  if (used + part.length > SLAB_WORDS) {
    slab = newSlab();
    used = 0;
  }
  const start = used;
  slab.set(part, start);
  used += part.length;
  threadRecord[0] = 0;
  return { words: slab, start };
}

/** A record that the addon wrote to an array of its own. */
export function wholeRecord(record: Uint8Array): CopiedRecord {
  return { words: new Uint32Array(record.buffer, record.byteOffset), start: 0 };
}
