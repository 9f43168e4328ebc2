/**
 * Does a stray store reach the start of the heap?
 *
 * Stands for an index of zero or a null base: the first 64 bytes of 'old', where a file's header or the class table
 * begins.
 * Runs on the image file of --image, or on the synthetic Spur heap without one.
 * Varies: mechanism. Records: the object, its class index, and whether header or slot; what the heap's walker makes of
 * it.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { pickObject } from '../../support/objects.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '64 bytes over the start of old space',
  expected: (setting) => expectStore(setting, 'the store lands in the object'),
  run(trial) {
    const { address, object } = pickObject(trial, () => true);
    trial.note(`the first object there has class index ${object.classIndex}`);
    trial.foreign('void foreign_write_rep(uint64_t address, uint8_t value, uint64_t bytes)')(address, 0x41, 64);
  },
};
