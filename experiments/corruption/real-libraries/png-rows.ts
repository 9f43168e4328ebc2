/**
 * Does libpng with too few row pointers write where the next words point?
 *
 * Stands for a row table made for the wrong height. png_read_image() gets 4 row pointers for an image of 8 rows. The
 * words behind them are what the last user of that memory left: references to objects of 'old'. The file is an 8 by 8
 * greyscale PNG made here; libpng reads it through a FILE of fmemopen(3).
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */

import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';
import { pngFile } from '../../support/png.js';

const HEIGHT = 8;

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'libpng: png_read_image() of 8 rows with 4 row pointers',
  libraries: ['libpng16.so.16'],
  expected: (setting) => expectStore(setting, 'the other rows go where the words behind the table point'),
  run(trial) {
    const png = trial.library('libpng16.so.16');
    const libc = trial.library('libc.so.6');
    const malloc = libc.func('uintptr_t malloc(size_t bytes)');
    const memcpy = libc.func('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t bytes)');
    const text = pngFile(8, HEIGHT, 1, Buffer.alloc(8 * HEIGHT, 0x41));
    const file = BigInt(malloc(text.length) as bigint);
    memcpy(file, text, text.length);
    const table = new BigUint64Array(8).map((_, row) =>
      row < 4 ? BigInt(malloc(8) as bigint) : trial.addressIn('old', 8),
    );
    const rows = BigInt(malloc(64) as bigint);
    memcpy(rows, Buffer.from(table.buffer), 64);
    const version = png.func('const char *png_get_libpng_ver(uintptr_t none)')(0);
    const reader = png.func(
      'uintptr_t png_create_read_struct(const char *version, uintptr_t a, uintptr_t b, uintptr_t c)',
    )(version, 0, 0, 0);
    const info = png.func('uintptr_t png_create_info_struct(uintptr_t png)')(reader);
    png.func('void png_init_io(uintptr_t png, uintptr_t file)')(
      reader,
      libc.func('uintptr_t fmemopen(uintptr_t bytes, size_t count, const char *mode)')(file, text.length, 'r'),
    );
    png.func('void png_read_info(uintptr_t png, uintptr_t info)')(reader, info);
    png.func('void png_read_image(uintptr_t png, uintptr_t rows)')(reader, rows);
  },
};
