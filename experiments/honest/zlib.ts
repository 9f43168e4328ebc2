/**
 * Does zlib give the same bytes under every mechanism?
 *
 * Compresses a real file in one callout, checks it with crc32 over the file and over what decompression gives back.
 * Buffers are the host's: zlib reads the input and writes the output without touching the image.
 * Varies: mechanism. Records: SHA-256 over the compressed bytes, the checksums and the decompressed bytes.
 */
import type { HonestCase } from '../../src/experiment/index.js';

export const experiment: HonestCase = {
  kind: 'honest',
  summary: 'zlib: compress, decompress and crc32 of a real file',
  libraries: ['libz.so.1'],
  run(trial) {
    const zlib = trial.library('libz.so.1', true);
    const bound = zlib.func('unsigned long compressBound(unsigned long source_bytes)');
    const compress2 = zlib.func(
      'int compress2(_Out_ uint8_t *dest, _Inout_ unsigned long *dest_bytes, const uint8_t *source, unsigned ' +
        'long source_bytes, int level)',
    );
    const uncompress = zlib.func(
      'int uncompress(_Out_ uint8_t *dest, _Inout_ unsigned long *dest_bytes, const uint8_t *source, unsigned ' +
        'long source_bytes)',
    );
    const crc32 = zlib.func('unsigned long crc32(unsigned long crc, const uint8_t *buffer, unsigned int bytes)');
    const source = trial.file.bytes;
    const packed = Buffer.alloc(Number(bound(source.length)));
    const packedBytes: [number] = [packed.length];
    const first = compress2(packed, packedBytes, source, source.length, 6);
    if (first !== 0) throw new Error(`compress2 answered ${String(first)}`);
    const again = Buffer.alloc(source.length);
    const againBytes: [number] = [again.length];
    const second = uncompress(again, againBytes, packed, packedBytes[0]);
    if (second !== 0) throw new Error(`uncompress answered ${String(second)}`);
    if (!again.equals(source)) throw new Error('decompressed bytes are not the file');
    trial.put(packed.subarray(0, packedBytes[0]));
    trial.put(again);
    trial.put(`${String(crc32(0, source, source.length))} ${String(crc32(0, again, again.length))}`);
    trial.count(5);
  },
};
