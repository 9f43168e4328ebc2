/**
 * This environment's thread as the trap sees it: its fault record, read through shared memory (a typed array over it
 * costs a nanosecond, a call 500).
 */
import { binding } from './binding.js';
import { answered } from './failure.js';
import { RECORD_BYTES } from './record.js';

const view = answered(binding.faultView(), 'attach this thread to the trap');

/** The record's words; the first is not 0 while a fault waits to be taken. */
export const threadRecord = new Uint32Array(view);

/** A copied record: 1024 bytes at `offset`. */
export interface CopiedRecord {
  readonly bytes: Uint8Array;
  /** The same memory in words. */
  readonly words: Uint32Array;
  readonly offset: number;
}

/*
 * Copies are cut from slabs: an ArrayBuffer for each would cost more than the copy. A slab lives as long as an error
 * that has a record in it.
 */
const SLAB_RECORDS = 64;
let slab = new Uint8Array(SLAB_RECORDS * RECORD_BYTES);
let words = new Uint32Array(slab.buffer);
let used = 0;
const bytes = new Uint8Array(view);

/** Copies this thread's record and clears it. */
export function takeFault(): CopiedRecord {
  if (used === SLAB_RECORDS) {
    slab = new Uint8Array(SLAB_RECORDS * RECORD_BYTES);
    words = new Uint32Array(slab.buffer);
    used = 0;
  }
  const offset = used++ * RECORD_BYTES;
  slab.set(bytes, offset);
  threadRecord[0] = 0;
  return { bytes: slab, words, offset };
}

/** A record that the addon wrote to an array of its own. */
export function wholeRecord(record: Uint8Array): CopiedRecord {
  return { bytes: record, words: new Uint32Array(record.buffer, record.byteOffset), offset: 0 };
}
