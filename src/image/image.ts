/**
 * The image: memory that stands in for a VM's object heap, in named spaces, with contents that can be filled, walked,
 * snapshot, compared and restored.
 */
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

import {
  type Errno,
  native,
  type NativeContent,
  type NativeHeapFile,
  type NativeImage,
  type NativeObject,
  type NativeSpaceRequest,
} from '../native.js';
import { ImageError } from './errors.js';
import { Loan, type LoanMode } from './loan.js';
import {
  type Denial,
  DENIALS,
  GUARD_MECHANISMS,
  type GuardMechanism,
  isGuardMechanism,
  type KeyMode,
} from './mechanism.js';

const PAGE = 4096;
const MAX_SPACES = 128; // PKEYS_MAX_SPACES
const MAX_NAME_BYTES = 31; // PKEYS_NAME_BYTES less its terminator
const MAX_BYTES = 2 ** 46; // PKEYS_MAX_BYTES
const DEFAULT_LIMIT = 64;
const MAX_LIMIT = 65_536;

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
  /** In the order in which they lie in memory. At most 128 in a process. */
  readonly spaces: readonly SpaceRequest[];
  /** One key for the whole image (default), or one for each space. */
  readonly keys?: KeyMode;
}

/** An object of a heap. Offsets are bytes from the space's start. */
export interface HeapObject {
  /** Offset of its header from the start of the space, in bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly slots: number;
  /** Spur: the header's 22 bits; V3: the compact class index. */
  readonly classIndex: number;
  /** The header's format field; its meaning depends on the family. */
  readonly format: number;
  /** The slot in which the place asked for lies; null: the header. */
  readonly slot: number | null;
  readonly isFree: boolean;
}

/** A heap problem; the kinds are those of native/image/spur.h: 'bad-chain', 'bad-header', 'bad-format', 'bad-class', 'format-mismatch',
 * 'bad-class-hash', 'bad-pointer', 'pointer-to-free', 'bad-tag', 'bad-method', 'bad-free-chunk', 'bad-roots',
 * 'bad-file'. */
export interface HeapProblem {
  readonly kind: string;
  readonly space: string;
  /** Offsets of the wrong word and of its object's header from the start of the space, in bytes. */
  readonly offset: number;
  readonly object: number;
  readonly address: bigint;
  readonly classIndex: number;
  /** null: the header. */
  readonly slot: number | null;
  /** The word as read. */
  readonly value: bigint;
}
export interface SpaceReport {
  readonly name: string;
  readonly content: NativeContent;
  /** false: not a heap that the walker knows. */
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
  /** All, also those not listed. */
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
  /** All ranges, also those not listed. Differences less than 16 equal bytes apart are one range. */
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

const {
  EBUSY,
  EINVAL,
  ENOMEM,
  ENOSPC,
  EFAULT,
  ENODATA,
  EBADF,
  EFBIG,
  EISDIR,
  EACCES,
  ERANGE,
  EOPNOTSUPP,
  EMFILE,
  EPERM,
  ELOOP,
  ENAMETOOLONG,
  ENOTDIR,
  ENOENT,
} = constants.errno;
const EKEYREJECTED = 129; // Linux asm-generic/errno.h; not among Node's

function show(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : typeof value === 'bigint' ? `${value}n` : String(value);
}

/** A whole number between the limits, or a TypeError or RangeError that names it. */
function whole(value: unknown, what: string, low: number, high: number, unit = 'bytes'): number {
  if (typeof value !== 'number')
    throw new TypeError(
      `${what} must be a number of ${unit}, not ${show(value)} (${value === null ? 'null' : typeof value}).`,
    );
  if (!Number.isSafeInteger(value) || value < low || value > high)
    throw new RangeError(`${what} is ${value}; it must be a whole number of ${unit} from ${low} to ${high}.`);
  return value;
}

function heapObject(o: NativeObject): HeapObject {
  return {
    offset: o.offset,
    bytes: o.bytes,
    slots: o.slots,
    classIndex: o.classIndex,
    format: o.format,
    slot: o.slot < 0 ? null : o.slot,
    isFree: o.isFree,
  };
}

/** One space of an image: its place and size now, and its bytes, by copies. */
export class Space {
  readonly name: string;
  readonly #image: Image;
  readonly #native: NativeImage;
  readonly #index: number;

  /** Spaces come from `image.space(name)`. */
  constructor(image: Image, nativeImage: NativeImage, index: number, name: string) {
    this.name = name;
    this.#image = image;
    this.#native = nativeImage;
    this.#index = index;
  }

  get #now() {
    return this.#image.checked(this.#native.space(this.#index), `look at space ${show(this.name)}`);
  }

  /** Address of its first byte. */
  get address(): bigint {
    return this.#now.address;
  }
  /** Committed. */
  get bytes(): number {
    return this.#now.bytes;
  }
  /** What it may grow to. */
  get reservedBytes(): number {
    return this.#now.reservedBytes;
  }
  /** Protection key; 0 while untagged. */
  get key(): number {
    return this.#now.key;
  }
  get deny(): Denial {
    return this.#now.deny;
  }

  /**
   * A copy of `bytes` bytes from `offset`.
   * @throws RangeError outside the committed bytes; ImageError 'ERR_IMAGE_UNMAPPED', 'ERR_IMAGE_CLOSED'
   */
  read(offset = 0, bytes?: number): Buffer {
    const size = this.bytes;
    whole(offset, 'offset', 0, size);
    whole(bytes ?? size - offset, 'bytes', 0, size - offset);
    return this.#image.checked(
      this.#native.read(this.#index, offset, bytes ?? size - offset),
      `read space ${show(this.name)}`,
    );
  }
  /**
   * Copies bytes in, as VM code would write them: protection is for foreign code.
   * @throws RangeError outside the committed bytes; ImageError 'ERR_IMAGE_UNMAPPED', 'ERR_IMAGE_CLOSED'
   */
  write(offset: number, bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array))
      throw new TypeError(`bytes must be a Uint8Array or Buffer, not ${show(bytes)}.`);
    const size = this.bytes;
    if (bytes.byteLength > size)
      throw new RangeError(
        `${bytes.byteLength} bytes do not fit into space ${show(this.name)} of ${size} bytes; grow it first.`,
      );
    whole(offset, 'offset', 0, size - bytes.byteLength);
    this.#image.checked(this.#native.write(this.#index, offset, bytes), `write space ${show(this.name)}`);
  }
  /**
   * Commits up to `bytes` bytes in all (rounded up to pages); the new ones are zero.
   * @throws RangeError below the present size; ImageError 'ERR_IMAGE_RESERVE' past the reservation
   */
  grow(bytes: number): void {
    whole(bytes, `The new size of space ${show(this.name)}`, this.bytes, MAX_BYTES);
    this.#resize(bytes);
  }
  /**
   * Gives back what lies past `bytes` bytes (rounded up to pages); its contents are lost, and objects there with them.
   * @throws RangeError above the present size or zero; ImageError 'ERR_IMAGE_BUSY' if a loan needs the tail
   */
  shrink(bytes: number): void {
    whole(bytes, `The new size of space ${show(this.name)}`, 1, this.bytes);
    this.#resize(bytes);
  }
  #resize(bytes: number): void {
    const errno = this.#native.resize(this.#index, bytes);
    if (errno === -ENOMEM)
      throw new ImageError(
        'ERR_IMAGE_RESERVE',
        `Space ${show(this.name)} cannot grow to ${bytes} bytes: ${this.reservedBytes} are reserved. Map the ` +
          'image with a larger reserveBytes.',
        errno,
      );
    this.#image.checked(errno, `resize space ${show(this.name)} to ${bytes} bytes`);
  }
  /** XXH64 (seed 0) of the committed bytes. */
  hash(): bigint {
    return this.#image.checked(this.#native.hash(this.#index), `hash space ${show(this.name)}`);
  }

  /**
   * Makes the `bytes` bytes directly below the space ordinary memory (up to 60 KiB): where an overflow from a C buffer
   * next to the image starts.
   * Returns the address of the first of them; `address + bytes` is the space's first byte.
   */
  neighbour(bytes: number): bigint {
    whole(bytes, 'bytes', 1, 15 * PAGE);
    return this.#image.checked(
      this.#native.neighbour(this.#index, bytes),
      `make the neighbour of space ${show(this.name)}`,
    );
  }
  /**
   * The object around a byte of the space, by walking from its start.
   * @throws ImageError 'ERR_IMAGE_OBJECT' where there is no heap, or its chain of objects breaks before that byte
   */
  objectAt(offset: number): HeapObject {
    whole(offset, 'offset', 0, this.bytes - 1);
    const found = this.#native.objectAt(this.#index, offset);
    if (found === -ENODATA)
      throw new ImageError(
        'ERR_IMAGE_OBJECT',
        `Space ${show(this.name)} holds no heap that can be walked: fill the image, or load a Squeak or ` +
          'Spur image file.',
        found,
      );
    if (found === -ENOENT)
      throw new ImageError(
        'ERR_IMAGE_OBJECT',
        `No object can be told at offset ${offset} of space ${show(this.name)}: the heap does not reach it, or ` +
          'its chain of objects breaks before it.',
        found,
      );
    return heapObject(this.#image.checked(found, `find the object at ${offset}`));
  }
}

/**
 * An image. Its memory belongs to the process: it stays until `close()`, and worker threads may take part in it
 * (`Image.attach(id)`). An Image that nobody refers to any more is closed when it is collected, if no callout is in
 * progress on that thread and no loan of it is out; otherwise when the next image is made. Do not rely on that: close
 * it.
 */
export class Image {
  readonly #native: NativeImage;
  readonly #spaces: readonly Space[];
  readonly #loans = new Set<Loan>();
  readonly #id: number;

  private constructor(nativeImage: NativeImage) {
    this.#native = nativeImage;
    this.#id = nativeImage.id();
    this.#spaces = Object.freeze(
      this.checked(nativeImage.spaces(), 'list the spaces').map((s, i) => new Space(this, nativeImage, i, s.name)),
    );
  }

  /**
   * Maps an image: zeroed pages between guard pages, with no mechanism yet.
   * @throws TypeError, RangeError for wrong requests; ImageError 'ERR_IMAGE_MAP' where there is no room
   */
  static map(options: ImageOptions): Image {
    if (typeof options !== 'object' || options === null || !Array.isArray(options.spaces))
      throw new TypeError(`Image.map takes { spaces: [{ name, bytes }] }, not ${show(options)}.`);
    const keys = options.keys ?? 'image';
    if (keys !== 'image' && keys !== 'space')
      throw new TypeError(`keys must be 'image' or 'space', not ${show(keys)}.`);
    const spaces = (options.spaces as readonly SpaceRequest[]).map(checkRequest);
    if (spaces.length === 0) throw new RangeError('An image needs at least one space.');
    if (spaces.length > MAX_SPACES)
      throw new RangeError(`${spaces.length} spaces are too many: a process may have ${MAX_SPACES} in all.`);
    const twice = spaces.find((s, i) => spaces.findIndex((t) => t.name === s.name) !== i);
    if (twice) throw new TypeError(`Two spaces are named ${show(twice.name)}; names must be unique in an image.`);
    const nativeImage = new native.NativeImage(spaces, keys === 'space' ? 1 : 0);
    const { errno, index } = nativeImage.failure();
    if (errno < 0) {
      const culprit = spaces[index];
      const what = culprit
        ? `space ${show(culprit.name)} (${culprit.bytes} bytes, ${culprit.reserveBytes} reserved)`
        : `an image of ${spaces.length} spaces`;
      if (errno === -ENOMEM)
        throw new ImageError(
          'ERR_IMAGE_MAP',
          `There is no memory for ${what}: ask for less, or raise the process's limit on address space.`,
          errno,
        );
      if (errno === -EMFILE)
        throw new ImageError(
          'ERR_IMAGE_MAP',
          `There is no place for ${what}: a process may have 16 images and ${MAX_SPACES} spaces; close images ` +
            'that are no longer used.',
          errno,
        );
      throw new ImageError('ERR_IMAGE_MAP', `Could not map ${what} (errno ${-errno}).`, errno);
    }
    return new Image(nativeImage);
  }

  /**
   * Takes part in an image that another thread of this process has mapped. Close it on one of them: it is closed for
   * all.
   * @throws ImageError 'ERR_IMAGE_CLOSED' if there is no such open image
   */
  static attach(id: number): Image {
    whole(id, 'id', 1, 0xffff_ffff, 'an image id');
    const nativeImage = new native.NativeImage(id);
    if (nativeImage.failure().errno < 0)
      throw new ImageError('ERR_IMAGE_CLOSED', `No image with id ${id} is open in this process.`, ENOENT);
    return new Image(nativeImage);
  }

  /** Unique in the process; may be posted to workers. */
  get id(): number {
    return this.#id;
  }
  get isOpen(): boolean {
    return this.#native.isOpen();
  }
  /** In the order in which they lie in memory. */
  get spaces(): readonly Space[] {
    return this.#spaces;
  }

  /** @throws RangeError if there is no space of that name */
  space(name: string): Space {
    const found = this.#spaces.find((s) => s.name === name);
    if (!found)
      throw new RangeError(
        `The image has no space ${show(name)}; it has ${this.#spaces.map((s) => show(s.name)).join(', ')}.`,
      );
    return found;
  }

  /** How the image is protected; undefined until a Guard has said so. */
  get mechanism(): GuardMechanism | undefined {
    return (this.checked(this.#native.mechanism(), 'ask for the mechanism') || undefined) as GuardMechanism | undefined;
  }

  /**
   * Protects the image. Called by Guard; once per image.
   * @throws ImageError 'ERR_MECHANISM_SET', 'ERR_PKEYS_UNAVAILABLE' (with the probe's reason), 'ERR_KEYS_EXHAUSTED',
   * 'ERR_IMAGE_KEYS', 'ERR_IMAGE_TAGS'
   */
  setMechanism(mechanism: GuardMechanism): void {
    if (!isGuardMechanism(mechanism))
      throw new TypeError(`mechanism must be one of ${GUARD_MECHANISMS.join(', ')}, not ${show(mechanism)}.`);
    const errno = this.#native.setMechanism(mechanism);
    if (errno >= 0) return;
    if (errno === -EBUSY)
      throw new ImageError(
        'ERR_MECHANISM_SET',
        `The image is protected by '${this.mechanism}' already; an image has one mechanism. Map another image ` +
          `for '${mechanism}'.`,
        errno,
      );
    if (errno === -EOPNOTSUPP) {
      const reason = native.probe().reason || 'no key could be allocated when Turnkey was loaded';
      throw new ImageError(
        'ERR_PKEYS_UNAVAILABLE',
        `'${mechanism}' needs protection keys, which are missing here: ${reason}. Use 'auto' or an mprotect ` +
          'mechanism, or run it in the emulated machine.',
        errno,
      );
    }
    if (errno === -ENOSPC) {
      const perSpace =
        this.#spaces.length > 1
          ? ` The image has ${this.#spaces.length} spaces; keys: 'image' needs one key for all of them.`
          : '';
      throw new ImageError(
        'ERR_KEYS_EXHAUSTED',
        `No protection key is left for '${mechanism}': ${native.probe().keysFree} are free of the 15 that the ` +
          `CPU has, and others in this process may own some.${perSpace} Close images that are no longer used.`,
        errno,
      );
    }
    if (errno === -EINVAL)
      throw new ImageError(
        'ERR_IMAGE_KEYS',
        'With one key for the image, all its spaces must deny the same ' +
          `(${this.#spaces.map((s) => `${s.name}: ${s.deny}`).join(', ')}). Map it with keys: 'space'.`,
        errno,
      );
    this.checked(errno, `set mechanism '${mechanism}'`);
  }

  /**
   * Fills every space to its committed size with a deterministic object graph in the 64-bit Spur object format; the
   * class table goes into the space named
   * 'old', else into the largest. The same seed and sizes give the same graph; only the addresses in its pointers
   * depend on where the spaces lie.
   */
  fill(seed: number | bigint): { readonly objects: number; readonly freeChunks: number; readonly pointers: number } {
    if (typeof seed !== 'bigint') whole(seed, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'no unit');
    return this.checked(this.#native.fill(BigInt.asUintN(64, BigInt(seed))), 'fill the image');
  }

  /**
   * Reads a file into a space (default 'old', else the largest), from its start; the space grows as far as its
   * reservation allows. A file of the Squeak/Spur family is walked by `verify()`; any other is bytes.
   * @throws ImageError 'ERR_IMAGE_FILE'
   */
  load(path: string | URL, options: { readonly space?: string } = {}): Loaded {
    if (typeof path !== 'string' && !(path instanceof URL))
      throw new TypeError(`path must be a string or a file URL, not ${show(path)}.`);
    const name = typeof path === 'string' ? path : fileURLToPath(path);
    if (name.includes('\0')) throw new TypeError('path must not contain a null character.');
    const space =
      options.space === undefined
        ? (this.#spaces.find((s) => s.name === 'old') ?? this.#largest())
        : this.space(options.space);
    const r = this.checked(this.#native.load(this.#spaces.indexOf(space), name), `load ${name}`);
    if (r.errno < 0) {
      const why = new Map<number, string>([
        [-ENOENT, 'there is no such file'],
        [-ENOTDIR, 'a part of its path is no directory'],
        [-EISDIR, 'it is a directory, not a file'],
        [-EACCES, 'it may not be read'],
        [-EPERM, 'it may not be read'],
        [-ENODATA, 'it is empty'],
        [-EINVAL, 'it is no regular file'],
        [-ELOOP, 'its symbolic links go round in a circle'],
        [-ENAMETOOLONG, 'its name is too long'],
        [
          -EFBIG,
          `it has ${r.bytes} bytes, and space ${show(space.name)} can grow to ${space.reservedBytes}; map the ` +
            'image with a larger reserveBytes',
        ],
      ]).get(r.errno);
      if (r.errno === -EFAULT) this.checked(r.errno, `load ${name}`);
      throw new ImageError(
        'ERR_IMAGE_FILE',
        `Cannot load ${name} into space ${show(space.name)}: ${why ?? `errno ${-r.errno}`}.`,
        r.errno,
      );
    }
    return { space: space.name, bytes: r.bytes, ...(r.heap ? { heap: r.heap } : {}) };
  }
  #largest(): Space {
    return this.#spaces.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  }

  /**
   * Walks every heap in the image: headers, sizes that chain to the end, classes, every pointer. `limit`: problems to
   * list (default 64). Works on any bytes.
   */
  verify(options: { readonly limit?: number } = {}): VerifyReport {
    const limit = whole(options.limit ?? DEFAULT_LIMIT, 'limit', 0, MAX_LIMIT, 'problems');
    const r = this.checked(this.#native.verify(limit), 'verify the image');
    const named = r.spaces.map((s, i): SpaceReport => ({ name: this.#spaces[i]?.name ?? '', ...s }));
    const problems = r.problems.map((p): HeapProblem => {
      const space = this.#spaces[p.space] as Space;
      return {
        kind: p.kind,
        space: space.name,
        offset: p.offset,
        object: p.object,
        address: space.address + BigInt(p.offset),
        classIndex: p.classIndex,
        slot: p.slot < 0 ? null : p.slot,
        value: p.value,
      };
    });
    return {
      ok: r.problemCount === 0,
      objects: r.objects,
      pointers: r.pointers,
      classes: r.classes,
      problemCount: r.problemCount,
      byKind: r.byKind,
      spaces: named,
      problems,
    };
  }

  /** Copies all spaces aside, into memory that is protected like the image. Replaces an earlier snapshot. */
  snapshot(): void {
    this.checked(this.#native.snapshot(), 'take a snapshot');
  }
  get hasSnapshot(): boolean {
    return this.checked(this.#native.hasSnapshot(), 'ask for the snapshot');
  }

  /**
   * Where the image differs from its snapshot. `limit`: ranges to list (default 64); `objects`: for how many of them to
   * name the object (default 8; each costs a walk).
   * @throws ImageError 'ERR_IMAGE_SNAPSHOT' without a snapshot
   */
  diff(options: { readonly limit?: number; readonly objects?: number } = {}): Difference {
    const limit = whole(options.limit ?? DEFAULT_LIMIT, 'limit', 0, MAX_LIMIT, 'ranges');
    const objects = whole(options.objects ?? 8, 'objects', 0, MAX_LIMIT, 'ranges');
    const r = this.checked(this.#native.diff(limit, objects), 'compare with the snapshot');
    const ranges = r.ranges.map((d): ChangedRange => {
      const space = this.#spaces[d.space] as Space;
      return {
        space: space.name,
        offset: d.offset,
        bytes: d.bytes,
        address: space.address + BigInt(d.offset),
        ...(d.object ? { object: heapObject(d.object) } : {}),
      };
    });
    return {
      equal: r.rangeCount === 0,
      changedBytes: r.changedBytes,
      rangeCount: r.rangeCount,
      ranges,
      resized: r.resized,
    };
  }

  /**
   * Back to the snapshot, sizes included. Writes only blocks of 4096 bytes that differ; returns how many bytes.
   * @throws ImageError 'ERR_IMAGE_SNAPSHOT' without a snapshot
   */
  restore(): number {
    return this.checked(this.#native.restore(), 'restore the snapshot');
  }

  /** XXH64 of all spaces' hashes, folded in order: equal contents and sizes give equal values. */
  hash(): bigint {
    return this.#spaces.reduce(
      (h, s) => BigInt.asUintN(64, (h ^ s.hash()) * 0x9e3779b185ebca87n),
      BigInt(this.#spaces.length),
    );
  }

  /**
   * Lends memory to foreign code: so many fresh bytes (zero), or a range of a space, copied in now (unless 'out') and
   * back on release (unless 'in').
   * @throws TypeError, RangeError for wrong arguments; ImageError 'ERR_LOAN', 'ERR_KEYS_EXHAUSTED'
   */
  lend(what: number | SpaceRange, mode: LoanMode = 'inout', options: LendOptions = {}): Loan {
    const code = ({ out: 0, in: 1, inout: 2 } as const)[mode];
    if (code === undefined) throw new TypeError(`mode must be 'in', 'out' or 'inout', not ${show(mode)}.`);
    const flush = options.flush ?? 'start';
    if (flush !== 'start' && flush !== 'end')
      throw new TypeError(`flush must be 'start' or 'end', not ${show(flush)}.`);
    let index = -1,
      offset = 0,
      bytes: number;
    if (typeof what === 'object' && what !== null) {
      const space = this.space(what.space);
      index = this.#spaces.indexOf(space);
      offset = whole(what.offset, 'offset', 0, space.bytes - 1);
      bytes = whole(what.bytes, 'bytes', 1, space.bytes - offset);
    } else {
      bytes = whole(what, 'The size of a loan', 1, MAX_BYTES);
    }
    const loan = this.#native.lend(bytes, index, offset, code, flush === 'end');
    if (typeof loan === 'number') {
      if (loan === -ENOSPC)
        throw new ImageError(
          'ERR_KEYS_EXHAUSTED',
          "No protection key is left for loans. Close images that are no longer used, or map with keys: 'image'.",
          loan,
        );
      if (loan === -EMFILE)
        throw new ImageError(
          'ERR_LOAN',
          'Too many loans are out (256): release those that are no longer needed.',
          loan,
        );
      if (loan === -ENOMEM) throw new ImageError('ERR_LOAN', `There is no memory to lend ${bytes} bytes.`, loan);
      return this.checked(loan as never, `lend ${bytes} bytes`);
    }
    const made = new Loan({ ...loan, mode, onRelease: (gone) => void this.#loans.delete(gone) });
    this.#loans.add(made);
    return made;
  }
  /** Those made here and not released. */
  get loans(): ReadonlySet<Loan> {
    return this.#loans;
  }

  /** Applies access and key again to every page, after something was mapped over them (I9). */
  reapply(): void {
    this.checked(this.#native.reapply(), 'apply the tags again');
  }
  /** Whether every page shows the expected key and access in /proc/self/smaps; `address`: the first that does not. */
  verifyTags(): { readonly ok: boolean; readonly address?: bigint } {
    const r = this.checked(this.#native.verifyTags(), 'verify the tags');
    if (r.errno === -EKEYREJECTED) return { ok: false, address: r.address };
    this.checked(r.errno, 'verify the tags');
    return { ok: true };
  }

  /**
   * Unmaps the image and frees its keys. Closing again does nothing.
   * @throws ImageError 'ERR_IMAGE_BUSY' during a callout, or while loans are out
   */
  close(): void {
    if (!this.isOpen) return;
    if (this.#loans.size > 0)
      throw new ImageError(
        'ERR_IMAGE_BUSY',
        `The image cannot be closed: ${this.#loans.size} loan(s) of it are out. Release them first.`,
        EBUSY,
      );
    const errno = this.#native.close();
    if (errno === -EBUSY)
      throw new ImageError(
        'ERR_IMAGE_BUSY',
        'The image cannot be closed during a callout, or while a loan of it is out. Close it when the callout ' +
          'has returned.',
        errno,
      );
    this.checked(errno, 'close the image');
  }
  [Symbol.dispose](): void {
    this.close();
  }

  /** Internal: the result, or an ImageError for a negative errno. */
  checked<T>(result: T | Errno, doing: string): T {
    if (typeof result !== 'number' || result >= 0) return result as T;
    switch (result) {
      case -EBADF:
        throw new ImageError('ERR_IMAGE_CLOSED', `Cannot ${doing}: the image is closed.`, result);
      case -EFAULT:
        throw new ImageError(
          'ERR_IMAGE_UNMAPPED',
          `Cannot ${doing}: pages of the image are no longer mapped readable and writable; something has ` +
            'remapped them.',
          result,
        );
      case -ENODATA:
        throw new ImageError(
          'ERR_IMAGE_SNAPSHOT',
          `Cannot ${doing}: there is no snapshot. Call image.snapshot() first.`,
          result,
        );
      case -ENOMEM:
        throw new ImageError('ERR_IMAGE_MAP', `Cannot ${doing}: the process has no memory for it.`, result);
      case -EBUSY:
        throw new ImageError(
          'ERR_IMAGE_BUSY',
          `Cannot ${doing} during a callout, or while a loan of the image is out.`,
          result,
        );
      case -ERANGE:
        throw new RangeError(`Cannot ${doing}: outside the space's committed bytes.`);
      case -EKEYREJECTED:
        throw new ImageError(
          'ERR_IMAGE_TAGS',
          `Could not ${doing}: /proc/self/smaps does not show the key and access that were asked for.`,
          result,
        );
      default:
        throw new ImageError('ERR_IMAGE_MAP', `Could not ${doing} (errno ${-result}).`, result);
    }
  }
}

function checkRequest(request: SpaceRequest, i: number): NativeSpaceRequest {
  const where = `spaces[${i}]`;
  if (typeof request !== 'object' || request === null)
    throw new TypeError(`${where} must be { name, bytes }, not ${show(request)}.`);
  const { name, deny = 'write' } = request;
  if (typeof name !== 'string') throw new TypeError(`${where}.name must be a string, not ${show(name)}.`);
  const length = Buffer.byteLength(name);
  if (length < 1 || length > MAX_NAME_BYTES || name.includes('\0'))
    throw new RangeError(
      `${where}.name is ${show(name)}; it must have 1 to ${MAX_NAME_BYTES} bytes and no null character.`,
    );
  const bytes = whole(request.bytes, `${where}.bytes (space ${show(name)})`, 1, MAX_BYTES);
  const rounded = Math.ceil(bytes / PAGE) * PAGE;
  const reserveBytes =
    request.reserveBytes === undefined
      ? 0
      : whole(request.reserveBytes, `${where}.reserveBytes (space ${show(name)})`, bytes, MAX_BYTES);
  if (!DENIALS.includes(deny))
    throw new TypeError(`${where}.deny must be '${DENIALS.join("' or '")}', not ${show(deny)}.`);
  return { name, bytes, reserveBytes: reserveBytes === 0 ? 0 : Math.max(reserveBytes, rounded), deny };
}
