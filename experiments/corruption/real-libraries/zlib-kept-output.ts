/**
 * Does a z_stream that still points into the image write there?
 *
 * Stands for a decompressor that is kept between calls. next_out was set to an object of 'old' long ago, and the
 * wrapper forgets to set it for this call. 64 bytes come out. The stream is laid out here as zlib.h has it: next_in 0,
 * avail_in 8, next_out 24, avail_out 32; 112 bytes.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { deflateSync } from 'node:zlib';

import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'zlib: inflate() with next_out left over from an earlier object in old space',
  libraries: ['libz.so.1'],
  expected: (setting) => expectStore(setting),
  run(trial) {
    const zlib = trial.library('libz.so.1');
    const libc = trial.library('libc.so.6');
    const compressed = deflateSync(Buffer.alloc(64, 0x41));
    const input = libc.func('uintptr_t malloc(size_t bytes)')(compressed.length) as bigint;
    libc.func('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t bytes)')(
      input,
      compressed,
      compressed.length,
    );
    const stream = Buffer.alloc(112);
    zlib.func('int inflateInit_(uint8_t *stream, const char *version, int bytes)')(stream, '1.2.11', stream.length);
    stream.writeBigUInt64LE(BigInt(input), 0);
    stream.writeUInt32LE(compressed.length, 8);
    stream.writeBigUInt64LE(trial.addressIn('old', 64), 24);
    stream.writeUInt32LE(64, 32);
    const finish = 4; // Z_FINISH
    trial.answered(zlib.func('int inflate(uint8_t *stream, int flush)')(stream, finish));
  },
};
