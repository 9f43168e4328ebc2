/**
 * Does a wide-character function with a count of bytes run on into the image?
 *
 * Stands for confused units: mbstowcs(3) gets the buffer's size in bytes where it wants characters. 200 letters, 800
 * bytes, into 256 bytes next to the image.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'mbstowcs() of 200 letters into 256 bytes, told 256 characters',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    trial.answered(
      trial.library('libc.so.6').func('size_t mbstowcs(uintptr_t to, const char *from, size_t characters)')(
        trial.neighbour(256).address,
        'A'.repeat(200),
        256,
      ),
    );
  },
};
