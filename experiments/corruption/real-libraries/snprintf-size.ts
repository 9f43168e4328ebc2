/**
 * Does snprintf() with a wrong size run on into the image?
 *
 * Stands for sizeof of the wrong thing: snprintf is told 512 where the buffer, next to the image, has 64 bytes, and
 * prints 200 characters.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'snprintf() of 200 characters into 64 bytes, told that there are 512',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    trial.answered(
      trial.library('libc.so.6').func('int snprintf(uintptr_t to, size_t bytes, const char *format, ...)')(
        trial.neighbour(64).address,
        512,
        '%200d',
        'int',
        42,
      ),
    );
  },
};
