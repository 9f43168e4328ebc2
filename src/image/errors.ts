/**
 * Errors of the image half. Wrong arguments are TypeError and RangeError; everything else is an ImageError with a code.
 */
import { constants } from 'node:os';

import type { Errno } from '../native.js';

const {
  EACCES,
  EBADF,
  EBUSY,
  EFAULT,
  EFBIG,
  EINVAL,
  EISDIR,
  ELOOP,
  EMFILE,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOMEM,
  ENOTDIR,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
} = constants.errno;
/** Pages do not carry the key that they should (Linux asm-generic/errno.h; not among Node's constants). */
export const EKEYREJECTED = 129;

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
 * - ERR_MECHANISM_SET: the image has another mechanism already, or cannot have this one beside sealed loans.
 * - ERR_IMAGE_SEALED: what a sealed image no longer does, or why it cannot be sealed.
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
  | 'ERR_IMAGE_SEALED'
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

/** The result, or an ImageError for a negative errno. `doing` completes "Cannot …". */
export function checked<T>(result: T | Errno, doing: string): T {
  if (typeof result !== 'number' || result >= 0) return result as T;
  switch (result) {
    case -EBADF:
      throw new ImageError('ERR_IMAGE_CLOSED', `Cannot ${doing}: the image is closed.`, result);
    case -EFAULT:
      throw new ImageError(
        'ERR_IMAGE_UNMAPPED',
        `Cannot ${doing}: pages of the image are no longer mapped readable and writable; something has remapped them.`,
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
    case -EPERM:
      throw new ImageError(
        'ERR_IMAGE_SEALED',
        `Cannot ${doing}: the image is sealed, until the process ends. It can grow, but neither shrink nor be closed.`,
        result,
      );
    case -EOPNOTSUPP:
      throw new ImageError('ERR_IMAGE_SEALED', `Cannot ${doing}: this needs mseal(2), Linux 6.10 or later.`, result);
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

/** Why `what` could not be mapped. */
export function mapError(errno: Errno, what: string): ImageError {
  switch (errno) {
    case -ENOMEM:
      return new ImageError(
        'ERR_IMAGE_MAP',
        `There is no memory for ${what}: ask for less, or raise the process's limit on address space.`,
        errno,
      );
    case -EMFILE:
      return new ImageError(
        'ERR_IMAGE_MAP',
        `There is no place for ${what}: a process may have 1040 images and 2048 spaces; close images that are no ` +
          'longer used.',
        errno,
      );
    default:
      return new ImageError('ERR_IMAGE_MAP', `Could not map ${what} (errno ${-errno}).`, errno);
  }
}

/** Why a file of `bytes` bytes could not be loaded into `space`. */
export function fileError(
  errno: Errno,
  path: string,
  space: { readonly name: string; readonly reservedBytes: number },
  bytes: number,
): ImageError {
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
      `it has ${bytes} bytes, and space "${space.name}" can grow to ${space.reservedBytes}; map the ` +
        'image with a larger reserveBytes',
    ],
  ]).get(errno);
  return new ImageError(
    'ERR_IMAGE_FILE',
    `Cannot load ${path} into space "${space.name}": ${why ?? `errno ${-errno}`}.`,
    errno,
  );
}
