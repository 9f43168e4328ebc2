/**
 * Does a stray store reach an object's header?
 *
 * Stands for an overflow that has just begun: 8 bytes over the header of an object of 'old', which tell its class and
 * size. The heap cannot be walked past it any more.
 * Runs on the image file of --image, or on the synthetic Spur heap without one.
 * Varies: mechanism. Records: the object, its class index, and whether header or slot; what the heap's walker makes of
 * it.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { pickObject } from '../../support/objects.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "a store over an object's header",
  quick: true,
  expected: (setting) => expectStore(setting, 'the store lands in the object'),
  run(trial) {
    const { address, object } = pickObject(trial, ({ isFree }) => !isFree);
    trial.note(`header of the object at ${object.offset} of 'old', class index ${object.classIndex}`);
    trial.foreign('void foreign_write64(uint64_t address, uint64_t value)')(
      address + BigInt(object.offset),
      0x4141414141414141n,
    );
  },
};
