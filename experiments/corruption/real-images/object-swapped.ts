/**
 * Do two objects that the callee copies over each other get through?
 *
 * Stands for memmove with a wrong length between two buffers of the image: the bytes of one object are copied over its
 * successors.
 * Runs on the image file of --image, or on the synthetic Spur heap without one.
 * Varies: mechanism. Records: the object, its class index, and whether header or slot; what the heap's walker makes of
 * it.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { pickObject } from '../../support/objects.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'memcpy() of 64 bytes over an object and its neighbours',
  expected: (setting) => expectStore(setting, 'the store lands in the object'),
  run(trial) {
    const { address, object } = pickObject(trial, ({ isFree }) => !isFree);
    trial.foreign('void foreign_memcpy(uint8_t *destination, const uint8_t *source, uint64_t bytes)')(
      address + BigInt(object.offset),
      Buffer.alloc(64, 0x41),
      64,
    );
  },
};
