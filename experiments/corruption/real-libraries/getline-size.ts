/**
 * Does getline() with a lying size run on into the image?
 *
 * Stands for a buffer of the application's own handed to getline(3) with *n too large. 256 bytes next to the image,
 * said to be 1024, get a line of 600.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'getline() of a line of 600 into 256 bytes, told that there are 1024',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const libc = trial.library('libc.so.6');
    const { address } = trial.neighbour(256);
    const text = Buffer.alloc(601, 0x41);
    text[600] = 0x0a;
    const file = libc.func('uintptr_t tmpfile(void)')();
    libc.func('size_t fwrite(const uint8_t *from, size_t bytes, size_t count, uintptr_t file)')(
      text,
      1,
      text.length,
      file,
    );
    libc.func('void rewind(uintptr_t file)')(file);
    trial.answered(
      libc.func('long getline(uint64_t *line, uint64_t *size, uintptr_t file)')(
        new BigUint64Array([address]),
        new BigUint64Array([1024n]),
        file,
      ),
    );
  },
};
