/**
 * The image: memory that stands in for a VM's object heap, in named spaces, with contents that can be filled, walked,
 * snapshot, compared and restored.
 */
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

import { native, type NativeImage } from '../native.js';
import { checkRequest, DEFAULT_LIMIT, MAX_BYTES, MAX_LIMIT, MAX_SPACES, show, whole } from './check.js';
import { checked, EKEYREJECTED, fileError, ImageError, mapError } from './errors.js';
import { useOf } from './in-use.js';
import { Loan, type LoanMode } from './loan.js';
import { GUARD_MECHANISMS, type GuardMechanism, isGuardMechanism, KEY_MODES } from './mechanism.js';
import { heapObject, Space } from './space.js';
import type {
  ChangedRange,
  Difference,
  HeapProblem,
  ImageOptions,
  LendOptions,
  Loaded,
  SpaceRange,
  SpaceReport,
  SpaceRequest,
  VerifyReport,
} from './types.js';

const { EBUSY, EFAULT, EINVAL, EMFILE, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP } = constants.errno;

/**
 * An image. Its memory belongs to the process: it stays until `close()`, and worker threads may take part in it
 * (`Image.attach(id)`). An Image that nobody refers to any more is closed when it is collected. If a callout is in
 * progress on that thread then, or a loan of it is out, it is closed when the next image is made. Do not rely on that:
 * close it.
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
      checked(nativeImage.spaces(), 'list the spaces').map((s, i) => new Space(nativeImage, i, s.name)),
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
    const keyMode = KEY_MODES.indexOf(keys);
    if (keyMode < 0) throw new TypeError(`keys must be '${KEY_MODES.join("' or '")}', not ${show(keys)}.`);
    const spaces = (options.spaces as readonly SpaceRequest[]).map(checkRequest);
    if (spaces.length === 0) throw new RangeError('An image needs at least one space.');
    if (spaces.length > MAX_SPACES)
      throw new RangeError(`${spaces.length} spaces are too many: an image may have ${MAX_SPACES}.`);
    const twice = spaces.find((s, i) => spaces.findIndex((t) => t.name === s.name) !== i);
    if (twice) throw new TypeError(`Two spaces are named ${show(twice.name)}; names must be unique in an image.`);
    const nativeImage = new native.NativeImage(spaces, keyMode as 0 | 1 | 2);
    const { errno, index } = nativeImage.failure();
    if (errno < 0) {
      const culprit = spaces[index];
      const what = culprit
        ? `space ${show(culprit.name)} (${culprit.bytes} bytes, ${culprit.reserveBytes} reserved)`
        : `an image of ${spaces.length} spaces`;
      throw mapError(errno, what);
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
    return (checked(this.#native.mechanism(), 'ask for the mechanism') || undefined) as GuardMechanism | undefined;
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
        this.mechanism === undefined
          ? `The image cannot be given '${mechanism}': loans are sealed. mprotect could not close them, and no key ` +
              'can be given to them. Where it needs keys, release first what is lent.'
          : `The image is protected by '${this.mechanism}' already; an image has one mechanism. Map another ` +
              `image for '${mechanism}'.`,
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
        `No protection key is left for '${mechanism}': ${native.probe().keysFree} are free of the 15 that ` +
          `the CPU has, and others in this process may own some.${perSpace} Close images that are no longer used.`,
        errno,
      );
    }
    if (errno === -EINVAL)
      throw new ImageError(
        'ERR_IMAGE_KEYS',
        'With one key for the image, all its spaces must deny the same ' +
          `(${this.#spaces.map((s) => `${s.name}: ${s.deny}`).join(', ')}), and so must all images with virtual keys.`,
        errno,
      );
    checked(errno, `set mechanism '${mechanism}'`);
  }

  /**
   * Fills every space to its committed size with a deterministic object graph in the 64-bit Spur object format. The
   * class table goes into the space named 'old', else into the largest. The same seed and sizes give the same graph;
   * only the addresses in its pointers depend on where the spaces lie.
   */
  fill(seed: number | bigint): { readonly objects: number; readonly freeChunks: number; readonly pointers: number } {
    if (typeof seed !== 'bigint') whole(seed, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'no unit');
    return checked(this.#native.fill(BigInt.asUintN(64, BigInt(seed))), 'fill the image');
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
    const r = checked(this.#native.load(this.#spaces.indexOf(space), name), `load ${name}`);
    if (r.errno < 0) {
      if (r.errno === -EFAULT) checked(r.errno, `load ${name}`);
      throw fileError(r.errno, name, space, r.bytes);
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
    const r = checked(this.#native.verify(limit), 'verify the image');
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
    checked(this.#native.snapshot(), 'take a snapshot');
  }
  get hasSnapshot(): boolean {
    return checked(this.#native.hasSnapshot(), 'ask for the snapshot');
  }

  /**
   * Where the image differs from its snapshot. `limit`: ranges to list (default 64); `objects`: for how many of them to
   * name the object (default 8; each costs a walk).
   * @throws ImageError 'ERR_IMAGE_SNAPSHOT' without a snapshot
   */
  diff(options: { readonly limit?: number; readonly objects?: number } = {}): Difference {
    const limit = whole(options.limit ?? DEFAULT_LIMIT, 'limit', 0, MAX_LIMIT, 'ranges');
    const objects = whole(options.objects ?? 8, 'objects', 0, MAX_LIMIT, 'ranges');
    const r = checked(this.#native.diff(limit, objects), 'compare with the snapshot');
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
    return checked(this.#native.restore(), 'restore the snapshot');
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
      return checked(loan as never, `lend ${bytes} bytes`);
    }
    const made = new Loan({ ...loan, mode, onRelease: (gone) => void this.#loans.delete(gone) });
    this.#loans.add(made);
    return made;
  }
  /** Those made here and not released. */
  get loans(): ReadonlySet<Loan> {
    return this.#loans;
  }

  /** Seals the committed pages for good: nobody remaps them, and the image can neither shrink nor be closed. */
  seal(): void {
    const needs = 'seal an image that no guard has closed, or that mprotect closes; that takes keys, or a trap alone';
    checked(this.#native.seal(), this.mechanism?.startsWith('mprotect') === false ? 'seal the image' : needs);
  }
  /** Applies access and key again to every page, after something was mapped over them (I9). */
  reapply(): void {
    checked(this.#native.reapply(), 'apply the tags again');
  }
  /** Whether every page shows the expected key and access in /proc/self/smaps; `address`: the first that does not. */
  verifyTags(): { readonly ok: boolean; readonly address?: bigint } {
    const r = checked(this.#native.verifyTags(), 'verify the tags');
    if (r.errno === -EKEYREJECTED) return { ok: false, address: r.address };
    checked(r.errno, 'verify the tags');
    return { ok: true };
  }

  /**
   * Unmaps the image and frees its keys. For JavaScript the image is closed at once; its pages go when the last
   * asynchronous call of a guard on it has come back. Closing again does nothing.
   * @throws ImageError 'ERR_IMAGE_BUSY' in a callback of a callout, or while loans are out
   */
  close(): void {
    if (!this.isOpen) return;
    if (this.#loans.size > 0)
      throw new ImageError(
        'ERR_IMAGE_BUSY',
        `The image cannot be closed: ${this.#loans.size} loan(s) of it are out. Release them first.`,
        EBUSY,
      );
    if (useOf(this).count > 0) {
      const mapped = new native.NativeImage(this.#id);
      this.#native.leave();
      useOf(this).whenIdle(() => void mapped.close());
      return;
    }
    const errno = this.#native.close();
    if (errno === -EBUSY)
      throw new ImageError(
        'ERR_IMAGE_BUSY',
        'The image cannot be closed during a callout, or while a loan of it is out. Close it when the ' +
          'callout has returned.',
        errno,
      );
    checked(errno, 'close the image');
  }
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * This thread's VM code enters the image, which has a virtual key (virtual.ts), until it enters another, or leaves.
   * @throws ImageError 'ERR_IMAGE_BUSY' if other threads have had every key open for a second
   */
  enter(): void {
    checked(this.#native.enter(true), 'enter the image');
  }
  leave(): void {
    checked(this.#native.enter(false), 'leave the image');
  }
}
