/**
 * Does a linear overflow of a C buffer run on into the image?
 *
 * Stands for an unchecked copy loop (strcpy, a lying length) out of a buffer that lies in the page just before the
 * image. The first bytes past the buffer are the first bytes of eden. Writes the whole buffer and 64 bytes more.
 * Varies: mechanism. Records: the address of the first refused byte, which must be the space's first, or the bytes
 * changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

const PAST = 64;

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: `copy loop that runs ${PAST} bytes past a C buffer in the page next to the image`,
  quick: 'everywhere',
  expected: (setting) => expectStore(setting, 'the loop walks out of its buffer into the first space'),
  run(trial) {
    const buffer = trial.neighbour(256);
    const overflow = trial.foreign('uint64_t foreign_overflow(uintptr_t start, uint64_t bytes, uint8_t value)');
    overflow(buffer.address, buffer.bytes + PAST, 0x41);
  },
};
