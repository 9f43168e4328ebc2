/**
 * Loading the addon, and the types of what it gives. Importing this attaches the thread to Turnkey (I13,
 * docs/invariants.md).
 *
 * The addon answers failures that depend on the machine or the data with a negative errno; src/image and src/callout
 * make the sentences.
 */
import { loadAddon } from './addon.js';
import type { Denial } from './image/mechanism.js';

/** A failure as the addon reports it: a negative errno. Operations that succeed without a result answer 0. */
export type Errno = number;

/** What protection keys this machine has, found by doing (native/pkeys, pkeys_probe). */
export interface Probe {
  /** CPUID.7.0:ECX.PKU: the CPU has the feature. */
  readonly cpuPku: boolean;
  /** CPUID.7.0:ECX.OSPKE: the kernel has switched it on. */
  readonly cpuOspke: boolean;
  /** pkey_alloc gave a key. */
  readonly allocWorks: boolean;
  /** pkey_mprotect tagged a page, and /proc/self/smaps agrees. */
  readonly tagWorks: boolean;
  /** read(2) into a write-denied page answered EFAULT. */
  readonly denyWorks: boolean;
  /** errno of a failed pkey_alloc, else 0. */
  readonly allocErrno: number;
  /** errno of a failed pkey_mprotect, else 0. */
  readonly tagErrno: number;
  /** Keys this process could still allocate. */
  readonly keysFree: number;
  /** All of the above hold. */
  readonly usable: boolean;
  /** What is missing: the call, its errno by name, and the likely causes; empty if usable. */
  readonly reason: string;
  /** The first call or instruction that failed, 'pkey_alloc' say; empty if none did. */
  readonly failedCall: string;
  /** errno of that call, else 0. */
  readonly failedErrno: number;
  /** Number of the signal that the call raises, else 0. */
  readonly failedSignal: number;
  /** A seccomp filter is set in this thread. */
  readonly filtered: boolean;
  /** How this version of the kernel is known to break keys; empty if nothing is known. */
  readonly warning: string;
}

export interface NativeSpaceRequest {
  readonly name: string;
  readonly bytes: number;
  readonly reserveBytes: number;
  readonly deny: Denial;
}
export interface NativeSpace {
  readonly name: string;
  readonly address: bigint;
  readonly bytes: number;
  readonly reservedBytes: number;
  readonly key: number;
  readonly deny: Denial;
}
export interface NativeObject {
  readonly offset: number;
  readonly bytes: number;
  readonly slots: number;
  readonly classIndex: number;
  readonly format: number;
  readonly slot: number;
  readonly isFree: boolean;
}
export interface NativeHeapFile {
  readonly version: number;
  readonly family: 'spur' | 'v3';
  readonly wordBytes: number;
  readonly swapped: boolean;
  readonly multipleBytecodes: boolean;
  readonly fileOffset: number;
  readonly headerBytes: number;
  readonly heapBytes: number;
  readonly baseAddress: bigint;
  readonly specialObjects: bigint;
  readonly firstSegmentBytes: number;
}
export type NativeContent = 'empty' | 'graph' | 'file' | 'heap-file';
export interface NativeReport {
  readonly objects: number;
  readonly pointers: number;
  readonly classes: number;
  readonly problemCount: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly spaces: readonly {
    readonly content: NativeContent;
    readonly walked: boolean;
    readonly objects: number;
    readonly freeChunks: number;
    readonly freeBytes: number;
    readonly walkedBytes: number;
    readonly problemCount: number;
  }[];
  readonly problems: readonly {
    readonly kind: string;
    readonly space: number;
    readonly offset: number;
    readonly object: number;
    readonly classIndex: number;
    readonly slot: number;
    readonly value: bigint;
  }[];
}
export interface NativeDifference {
  readonly changedBytes: number;
  readonly rangeCount: number;
  readonly resized: number;
  readonly ranges: readonly {
    readonly space: number;
    readonly offset: number;
    readonly bytes: number;
    readonly object?: NativeObject;
  }[];
}
export interface NativeLoan {
  readonly id: number;
  readonly address: bigint;
  readonly memory: ArrayBuffer;
}

/** native/addon/image_binding.cc. `space` arguments are indices. */
export interface NativeImage {
  failure(): { readonly errno: Errno; readonly index: number };
  id(): number;
  isOpen(): boolean;
  spaces(): readonly NativeSpace[] | Errno;
  space(space: number): NativeSpace | Errno;
  mechanism(): string | Errno;
  setMechanism(name: string): Errno;
  close(): Errno;
  /** Closes this object; the image stays open for others that hold it. */
  leave(): void;
  fill(seed: bigint): { readonly objects: number; readonly freeChunks: number; readonly pointers: number } | Errno;
  load(
    space: number,
    path: string,
  ): { readonly errno: Errno; readonly bytes: number; readonly heap?: NativeHeapFile } | Errno;
  resize(space: number, bytes: number): Errno;
  verify(limit: number): NativeReport | Errno;
  snapshot(): Errno;
  hasSnapshot(): boolean | Errno;
  diff(limit: number, objects: number): NativeDifference | Errno;
  /** Bytes written, or a negative errno. */
  restore(): number;
  objectAt(space: number, offset: number): NativeObject | Errno;
  hash(space: number): bigint | Errno;
  read(space: number, offset: number, bytes: number): Buffer | Errno;
  write(space: number, offset: number, bytes: Uint8Array): Errno;
  neighbour(space: number, bytes: number): bigint | Errno;
  reapply(): Errno;
  seal(): Errno;
  verifyTags(): { readonly errno: Errno; readonly address: bigint } | Errno;
  lend(bytes: number, space: number, offset: number, mode: 0 | 1 | 2, flushEnd: boolean): NativeLoan | Errno;
  /** This thread enters the image, or leaves it. */
  enter(enter: boolean): Errno;
}
/** pkeys_virtual_state, and the visits of this thread. */
export interface NativeVirtualState {
  readonly ways: number;
  readonly images: number;
  readonly resident: number;
  readonly pinned: number;
  readonly loads: number;
  readonly evictions: number;
  readonly hits: number;
  readonly misses: number;
}

/** What image_binding.cc adds to the addon. */
export interface NativeImageBinding {
  readonly NativeImage: {
    new (spaces: readonly NativeSpaceRequest[], keyMode: 0 | 1 | 2): NativeImage;
    new (id: number): NativeImage;
  };
  /** The names of all mechanisms, by pkeys_mechanism_name. */
  readonly mechanisms: readonly string[];
  configureVirtual(policy: string, load: 0 | 1, ways: number, nth: number, guardBytes: number, seed: number): Errno;
  virtualState(): NativeVirtualState;
  probe(): Probe;
  releaseLoan(id: number, memory: ArrayBuffer): Errno;
}

export const native = loadAddon() as NativeImageBinding;
