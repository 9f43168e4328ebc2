/**
 * Does a stray store reach an object's slot?
 *
 * Stands for the corruption that is found last: one reference of an object of 'old' is replaced by a number that is
 * none.
 * Runs on the image file of --image, or on the synthetic Spur heap without one.
 * Varies: mechanism. Records: the object, its class index, and whether header or slot; what the heap's walker makes of
 * it.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { pickObject } from '../../support/objects.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a store over an object's first slot",
  expected: (setting) => expectStore(setting, 'the store lands in the object'),
  run(trial) {
    const { address, object } = pickObject(trial, ({ isFree, slots }) => !isFree && slots > 0);
    trial.note(`first slot of the object at ${object.offset} of 'old', class index ${object.classIndex}`);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      address + BigInt(object.offset + object.bytes - object.slots * object.slotBytes),
      0x4141414141414148n,
    );
  },
};
