/**
 * Does iconv() with a wrong count of output bytes run on into the image?
 *
 * Stands for *outbytesleft given in characters where the output takes four bytes each, or the other way round. 256
 * letters become UTF-32 in 256 bytes of C memory next to the image. 1028 bytes are said to be left.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'iconv: UTF-32 output into 256 bytes, told that 1028 are left',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const libc = trial.library('libc.so.6');
    const { address } = trial.neighbour(256);
    const letters = Buffer.alloc(256, 0x41);
    const input = BigInt(libc.func('uintptr_t malloc(size_t bytes)')(256) as bigint);
    libc.func('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t bytes)')(input, letters, 256);
    // both are built in: no module is loaded
    const converter = libc.func('uintptr_t iconv_open(const char *to, const char *from)')('UCS-4LE', 'ISO-10646/UTF8/');
    trial.answered(
      libc.func('size_t iconv(uintptr_t converter, uint64_t *in, uint64_t *inLeft, uint64_t *out, uint64_t *outLeft)')(
        converter,
        new BigUint64Array([input]),
        new BigUint64Array([256n]),
        new BigUint64Array([address]),
        new BigUint64Array([1028n]),
      ),
    );
  },
};
