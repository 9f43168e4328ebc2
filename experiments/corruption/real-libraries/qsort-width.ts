/**
 * Does qsort() with a wrong element size run on into the image?
 *
 * Stands for the size of a pointer given for that of an int. 64 elements of 4 bytes, in C memory next to the image, are
 * sorted as 64 of 8. The comparison is strcmp, so that no callback is involved. Sorting moves what lies behind the
 * array, too.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'qsort() of 64 ints, told that each has 8 bytes',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const libc = trial.library('libc.so.6');
    const { address } = trial.neighbour(256);
    const values = Buffer.from(
      Uint32Array.from({ length: 64 }, (_, at) => 0x7a7a7a7a - ((at * 0x01010101) % 0x19000000)).buffer,
    );
    libc.func('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t bytes)')(address, values, 256);
    libc.func('void qsort(uintptr_t base, size_t count, size_t bytes, uintptr_t compare)')(
      address,
      64,
      8,
      libc.symbol('strcmp'),
    );
  },
};
