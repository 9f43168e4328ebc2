/**
 * Does a write through a pointer retained from an earlier callout reach the image?
 *
 * Stands for the library that keeps a buffer (a registered user pointer, an output row) and writes to it in a later
 * call. By then the VM has long used the memory for something else. The first callout passes a legitimate pointer to an
 * object in 'old', the second one writes through what was kept.
 * Varies: mechanism. Records: the fault or its absence in the second callout, the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '32 bytes through a pointer into old space kept from an earlier callout',
  quick: 'everywhere',
  expected: (setting) => expectStore(setting),
  run(trial) {
    const keep = trial.foreign('void foreign_keep(uintptr_t pointer)');
    const scribble = trial.foreign('int foreign_scribble(uint8_t value, uint64_t bytes)');
    keep(trial.addressIn('old', 32));
    scribble(0x41, 32);
  },
};
