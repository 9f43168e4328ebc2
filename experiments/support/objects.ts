/** Finding an object of 'old' for a case to damage: in a heap that the walker knows, by the trial's own numbers. */
import type { Trial } from '../../src/experiment/index.js';
import { ImageError } from '../../src/image/errors.js';
import type { HeapObject } from '../../src/image/types.js';

/** An object with what a case needs of it. */
export interface Picked {
  /** Start of the space 'old'. */
  readonly address: bigint;
  readonly object: HeapObject & { readonly slotBytes: number };
}

const TRIES = 200;

/**
 * A random object that `suits`. Where no heap can be walked, the object is made up: 16 bytes at a random place. The
 * store is the same, but a report cannot name what it hit.
 */
export function pickObject(trial: Trial, suits: (object: HeapObject) => boolean): Picked {
  const { address, bytes } = trial.space('old');
  const space = trial.image.space('old');
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      const object = space.objectAt(8 * trial.random(bytes / 8));
      if (suits(object)) return { address, object: { ...object, slotBytes: object.slots * 8 < object.bytes ? 8 : 4 } };
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
    }
  }
  trial.note('no heap that can be walked: the place stands for an object');
  const offset = 16 * trial.random(bytes / 16 - 8);
  return {
    address,
    object: { offset, bytes: 16, slots: 1, classIndex: 0, format: 0, slot: null, isFree: false, slotBytes: 8 },
  };
}
