/**
 * Virtual keys: how the hardware keys are given out among the images mapped with `keys: 'virtual'`. A thread enters one
 * of them (`image.enter()`): that alone is open to its native VM code, and its callouts are made from there. Methods of
 * an image enter it themselves, and any image with a key of its own is open anyway.
 */
import { constants } from 'node:os';

import { native } from '../native.js';
import { MAX_BYTES, show, whole } from './check.js';
import { checked, ImageError } from './errors.js';

/** How the image is chosen whose key a miss takes; native/pkeys/pkeys_virtual.h explains each. */
export const VIRTUAL_POLICIES = ['lru', 'clock', 'random', 'nth-miss', 'stripes'] as const;
export type VirtualPolicy = (typeof VIRTUAL_POLICIES)[number];

export interface VirtualKeyOptions {
  /** Default 'lru'. */
  readonly policy?: VirtualPolicy;
  /** When a miss loads the image: as the thread enters it (default), or at its first access. */
  readonly load?: 'entry' | 'fault';
  /** Most hardware keys to use, 1 to 15; default: as many as are free. */
  readonly ways?: number;
  /** 'nth-miss' only; default 8. */
  readonly nth?: number;
  /** 'stripes' only: images of one colour are at least this many bytes apart; default 65536. */
  readonly guardBytes?: number;
  /** 'random' only. */
  readonly seed?: number;
}

/** The state of the pool; hits and misses are of the calling thread. */
export interface VirtualKeys {
  readonly ways: number;
  readonly images: number;
  readonly resident: number;
  readonly pinned: number;
  readonly loads: number;
  readonly evictions: number;
  readonly hits: number;
  readonly misses: number;
}

/**
 * Sets how virtual keys are given out, for the process.
 * @throws TypeError, RangeError for wrong options; ImageError 'ERR_IMAGE_BUSY' while a protected image has a virtual
 * key
 */
export function configureVirtualKeys(options: VirtualKeyOptions): void {
  const { policy = 'lru', load = 'entry', ways, nth = 8, guardBytes = 65536, seed = 1 } = options;
  if (!VIRTUAL_POLICIES.includes(policy))
    throw new TypeError(`policy must be '${VIRTUAL_POLICIES.join("' or '")}', not ${show(policy)}.`);
  if (!['entry', 'fault'].includes(load)) throw new TypeError(`load must be 'entry' or 'fault', not ${show(load)}.`);
  const errno = native.configureVirtual(
    policy,
    load === 'fault' ? 1 : 0,
    ways === undefined ? 0 : whole(ways, 'ways', 1, 15, 'keys'),
    whole(nth, 'nth', 1, 0xffff_ffff, 'misses'),
    whole(guardBytes, 'guardBytes', 1, MAX_BYTES),
    whole(seed, 'seed', 1, 0xffff_ffff, 'a seed'),
  );
  if (errno === -constants.errno.EBUSY)
    throw new ImageError('ERR_IMAGE_BUSY', 'Virtual keys are in use; set their options before the first guard.', errno);
  checked(errno, 'set the options of virtual keys');
}

export function virtualKeys(): VirtualKeys {
  return native.virtualState();
}
