/**
 * Does a store that goes round the caches go round the keys too?
 *
 * Stands for streaming copies (video frames, large memcpy): `movnti`, weakly ordered, combined in buffers of its own.
 * The check is made at the address, before any buffer: it must fault as any other.
 * `none`, `flag`: lands. mprotect and keys: faults.
 * Varies: mechanism. Records: the fault, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'movnti of 8 bytes into old space',
  expected: (setting) => expectStore(setting),
  run(trial) {
    trial.foreign('void foreign_write_nontemporal(uint64_t address, uint64_t value)')(
      trial.addressIn('old'),
      0x4141414141414141n,
    );
  },
};
