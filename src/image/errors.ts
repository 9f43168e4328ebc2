/**
 * Errors of the image half. Wrong arguments are TypeError and RangeError; everything else is an ImageError with a code.
 */

/**
 * - ERR_IMAGE_CLOSED: the image was closed (here or on another thread).
 * - ERR_IMAGE_BUSY: a callout is inside, or a loan of the image is out.
 * - ERR_IMAGE_MAP: the kernel or a table of Turnkey's has no room for it.
 * - ERR_IMAGE_RESERVE: past a space's reservation.
 * - ERR_IMAGE_FILE: the file is missing, a directory, unreadable, empty or too large.
 * - ERR_IMAGE_UNMAPPED: pages of the image are no longer mapped, or no longer readable and writable; something remapped
 * them behind our back.
 * - ERR_IMAGE_TAGS: pages do not carry the key or access they should.
 * - ERR_IMAGE_SNAPSHOT: there is no snapshot.
 * - ERR_IMAGE_OBJECT: no object can be told at that place.
 * - ERR_IMAGE_KEYS: the spaces' rights do not go with one key for all.
 * - ERR_KEYS_EXHAUSTED: no protection key is left.
 * - ERR_PKEYS_UNAVAILABLE: this machine has no protection keys.
 * - ERR_MECHANISM_SET: the image has another mechanism already.
 * - ERR_LOAN: no loan could be made, or it is gone.
 */
export type ImageErrorCode =
  | 'ERR_IMAGE_CLOSED'
  | 'ERR_IMAGE_BUSY'
  | 'ERR_IMAGE_MAP'
  | 'ERR_IMAGE_RESERVE'
  | 'ERR_IMAGE_FILE'
  | 'ERR_IMAGE_UNMAPPED'
  | 'ERR_IMAGE_TAGS'
  | 'ERR_IMAGE_SNAPSHOT'
  | 'ERR_IMAGE_OBJECT'
  | 'ERR_IMAGE_KEYS'
  | 'ERR_KEYS_EXHAUSTED'
  | 'ERR_PKEYS_UNAVAILABLE'
  | 'ERR_MECHANISM_SET'
  | 'ERR_LOAN';

export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly code: ImageErrorCode;
  /** The kernel's or Turnkey's errno, positive, where there is one. */
  readonly errno: number | undefined;
  constructor(code: ImageErrorCode, message: string, errno?: number) {
    super(message);
    this.code = code;
    this.errno = errno === undefined ? undefined : Math.abs(errno);
  }
}
