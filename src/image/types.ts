/** What an image is asked for, and what it reports. */
import type { NativeContent, NativeHeapFile } from '../native.js';
import type { Denial, KeyMode } from './mechanism.js';

export interface SpaceRequest {
  /** 1 to 31 bytes of UTF-8, unique in the image. */
  readonly name: string;
  /** Committed at once, rounded up to pages of 4096. */
  readonly bytes: number;
  /** Address space to grow into; default four times `bytes`. */
  readonly reserveBytes?: number;
  /** What callouts lose: 'write' (default), or 'access' (neither read nor write). */
  readonly deny?: Denial;
}
export interface ImageOptions {
  /** In the order in which they lie in memory. At most 128, and 2048 in a process. */
  readonly spaces: readonly SpaceRequest[];
  /** One key for the whole image (default), one for each space, or a virtual key: `image.enter()` then. */
  readonly keys?: KeyMode;
}

/** An object of a heap. Offsets are bytes from the space's start. */
export interface HeapObject {
  /** Offset of the header. */
  readonly offset: number;
  readonly bytes: number;
  readonly slots: number;
  /** Spur: the header's 22 bits; V3: the compact class index. */
  readonly classIndex: number;
  /** The header's format field; its meaning depends on the family. */
  readonly format: number;
  /** The slot that holds the byte asked for; null for the header. */
  readonly slot: number | null;
  readonly isFree: boolean;
}

/**
 * A heap problem; the kinds are those of native/image/spur.h: 'bad-chain', 'bad-header', 'bad-format', 'bad-class',
 * 'format-mismatch', 'bad-class-hash', 'bad-pointer', 'pointer-to-free', 'bad-tag', 'bad-method', 'bad-free-chunk',
 * 'bad-roots', 'bad-file'.
 */
export interface HeapProblem {
  readonly kind: string;
  readonly space: string;
  /** Offset of the wrong word in the space. */
  readonly offset: number;
  /** Offset of the header of its object. */
  readonly object: number;
  readonly address: bigint;
  readonly classIndex: number;
  /** null for the header. */
  readonly slot: number | null;
  /** The word as read. */
  readonly value: bigint;
}
export interface SpaceReport {
  readonly name: string;
  readonly content: NativeContent;
  /** Whether the walker knows this kind of heap. */
  readonly walked: boolean;
  readonly objects: number;
  readonly freeChunks: number;
  readonly freeBytes: number;
  readonly walkedBytes: number;
  readonly problemCount: number;
}
export interface VerifyReport {
  readonly ok: boolean;
  readonly objects: number;
  readonly pointers: number;
  readonly classes: number;
  /** Number of all problems, listed or not. */
  readonly problemCount: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly spaces: readonly SpaceReport[];
  readonly problems: readonly HeapProblem[];
}

export interface ChangedRange {
  readonly space: string;
  readonly offset: number;
  readonly bytes: number;
  readonly address: bigint;
  /**
   * The object in which the range begins, as it was in the snapshot; where there was a heap, and for the first ranges
   * only.
   */
  readonly object?: HeapObject;
}
export interface Difference {
  readonly equal: boolean;
  /** Bytes that differ, exactly. */
  readonly changedBytes: number;
  /** Number of all ranges, listed or not. Differences less than 16 equal bytes apart are a single range. */
  readonly rangeCount: number;
  readonly ranges: readonly ChangedRange[];
  /** Spaces whose size is not the snapshot's. */
  readonly resized: number;
}

/** The header of an image file of the Squeak/Spur family. */
export type HeapFile = NativeHeapFile;
export interface Loaded {
  readonly space: string;
  readonly bytes: number;
  /** Present where the file is of a family that the walker knows. */
  readonly heap?: HeapFile;
}

export interface LendOptions {
  /**
   * Which end of the bytes touches a guard page: 'start' (default; page-aligned), or 'end' (the first byte past them
   * faults; unaligned).
   */
  readonly flush?: 'start' | 'end';
}
export interface SpaceRange {
  readonly space: string;
  readonly offset: number;
  readonly bytes: number;
}
