/**
 * Does uncompress() with a lying length run on into the image?
 *
 * Stands for the commonest mistake with zlib: *destLen says more than the buffer has: an element count taken for bytes,
 * or a constant. 4 KiB come out into 256 bytes of C memory next to the image.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { deflateSync } from 'node:zlib';

import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'zlib: uncompress() into 256 bytes, told that there are 4096',
  quick: true,
  libraries: ['libz.so.1'],
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const { address } = trial.neighbour(256);
    const compressed = deflateSync(Buffer.alloc(4096, 0x41));
    trial.answered(
      trial
        .library('libz.so.1', true)
        .func(
          'int uncompress(uintptr_t destination, unsigned long *length, const uint8_t *source, unsigned long bytes)',
        )(address, new BigUint64Array([4096n]), compressed, compressed.length),
    );
  },
};
