/**
 * Does a store of one byte change an object's class?
 *
 * Stands for a flag set in the wrong place: the byte that holds the lowest bits of an object's class index. The heap
 * can still be walked; the object is another's now.
 * Runs on the image file of --image, or on the synthetic Spur heap without one.
 * Varies: mechanism. Records: the object, its class index, and whether header or slot; what the heap's walker makes of
 * it.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { pickObject } from '../../support/objects.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a store of one byte to an object's class index",
  expected: (setting) => expectStore(setting, 'the store lands in the object'),
  run(trial) {
    const { address, object } = pickObject(trial, ({ isFree }) => !isFree);
    trial.note(`class index ${object.classIndex} of the object at ${object.offset} of 'old'`);
    trial.foreign('void foreign_write8(uint64_t address, uint8_t value)')(
      address + BigInt(object.offset),
      (trial.read('old', object.offset, 1)[0] ?? 0) ^ 1,
    );
  },
};
