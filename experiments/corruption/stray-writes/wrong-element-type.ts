/**
 * Does a function that fills doubles, given an array of floats, write into the image?
 *
 * Stands for cblas_dscal called where cblas_sscal was meant, getloadavg on an array of floats, a Float32Array where the
 * C side has `double *`. The count is right, but the elements are twice as large.
 * `none`, `flag`: the upper half lands in eden. mprotect and keys: the third double faults.
 * Varies: mechanism. Records: the fault's address, which is the space's first, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '4 doubles written to an array of 4 floats next to the image',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const floats = trial.neighbour(4 * 4);
    const ones = trial.foreign('void foreign_ones(uint64_t array, int count)');
    ones(floats.address, 4);
  },
};
