/**
 * Is a `rep stosb` inside the image prevented?
 *
 * Stands for memset through a stale pointer: a library clears "its" buffer (explicit_bzero of a key, calloc's reuse)
 * that is the image's now. `none`, `flag`: 512 bytes land. mprotect and keys: the first one faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'rep stosb of 512 bytes into survivor space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_write_rep(uint64_t address, uint8_t value, uint64_t bytes)')(
      trial.addressIn('survivor', 512),
      0x41,
      512,
    );
  },
};
