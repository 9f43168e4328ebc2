/** One space of an image: its place and size now, and its bytes, by copies. */
import { constants } from 'node:os';

import type { NativeImage, NativeObject } from '../native.js';
import { MAX_BYTES, PAGE, show, whole } from './check.js';
import { checked, ImageError } from './errors.js';
import type { Denial } from './mechanism.js';
import type { HeapObject } from './types.js';

const { ENODATA, ENOENT, ENOMEM } = constants.errno;

/** A heap object as the addon describes it. */
export function heapObject(o: NativeObject): HeapObject {
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

export class Space {
  readonly name: string;
  readonly #native: NativeImage;
  readonly #index: number;

  /** Spaces come from `image.space(name)`. */
  constructor(nativeImage: NativeImage, index: number, name: string) {
    this.name = name;
    this.#native = nativeImage;
    this.#index = index;
  }

  get #now() {
    return checked(this.#native.space(this.#index), `look at space ${show(this.name)}`);
  }

  /** Address of the first byte. */
  get address(): bigint {
    return this.#now.address;
  }
  /** Committed bytes. */
  get bytes(): number {
    return this.#now.bytes;
  }
  /** Bytes that the space may grow to. */
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
    return checked(this.#native.read(this.#index, offset, bytes ?? size - offset), `read space ${show(this.name)}`);
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
    checked(this.#native.write(this.#index, offset, bytes), `write space ${show(this.name)}`);
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
    checked(errno, `resize space ${show(this.name)} to ${bytes} bytes`);
  }
  /** XXH64 (seed 0) of the committed bytes. */
  hash(): bigint {
    return checked(this.#native.hash(this.#index), `hash space ${show(this.name)}`);
  }

  /**
   * Makes the `bytes` bytes directly below the space ordinary memory (up to 60 KiB): where an overflow from a C buffer
   * next to the image starts.
   * Returns the address of the first of them; `address + bytes` is the space's first byte.
   */
  neighbour(bytes: number): bigint {
    whole(bytes, 'bytes', 1, 15 * PAGE);
    return checked(this.#native.neighbour(this.#index, bytes), `make the neighbour of space ${show(this.name)}`);
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
        `Space ${show(this.name)} holds no heap that can be walked: fill the image, or load a Squeak or Spur ` +
          'image file.',
        found,
      );
    if (found === -ENOENT)
      throw new ImageError(
        'ERR_IMAGE_OBJECT',
        `No object can be told at offset ${offset} of space ${show(this.name)}: the heap does not reach it, ` +
          'or its chain of objects breaks before it.',
        found,
      );
    return heapObject(checked(found, `find the object at ${offset}`));
  }
}
