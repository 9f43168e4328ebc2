/**
 * Does BZ2_bzBuffToBuffDecompress() with a lying length run on into the image?
 *
 * Stands for the same mistake with bzip2: *destLen says 4096 where the buffer, next to the image, has 256 bytes. The
 * input is made by the library itself.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'bzip2: decompression into 256 bytes, told that there are 4096',
  libraries: ['libbz2.so.1.0'],
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const bzip2 = trial.library('libbz2.so.1.0');
    const compressed = Buffer.alloc(8192);
    const length = new Uint32Array([compressed.length]);
    bzip2.func(
      'int BZ2_bzBuffToBuffCompress(uint8_t *to, uint32_t *length, const uint8_t *from, uint32_t bytes, int ' +
        'block, int verbosity, int work)',
    )(compressed, length, Buffer.alloc(4096, 0x41), 4096, 1, 0, 0);
    const { address } = trial.neighbour(256);
    trial.answered(
      bzip2.func(
        'int BZ2_bzBuffToBuffDecompress(uintptr_t to, uint32_t *length, const uint8_t *from, uint32_t bytes, ' +
          'int small, int verbosity)',
      )(address, new Uint32Array([4096]), compressed, length[0], 0, 0),
    );
  },
};
