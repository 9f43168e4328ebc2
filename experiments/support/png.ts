/** A picture as a PNG file: 8 bits a channel, no filter, one chunk of data. https://www.w3.org/TR/png-3 */
import { deflateSync } from 'node:zlib';

import { crc32 } from '../../src/record/crc32.js';

/** The colour types that are written, by bytes of a pixel. */
const COLOUR_TYPES = { 1: 0, 3: 2 } as const; // grey, RGB

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** `pixels`: row after row, `bytesPerPixel` bytes each: 1 for grey, 3 for RGB. */
export function pngFile(width: number, height: number, bytesPerPixel: 1 | 3, pixels: Buffer): Buffer {
  const rowBytes = width * bytesPerPixel;
  const rows = Array.from({ length: height }, (_, row) =>
    Buffer.concat([Buffer.of(0), pixels.subarray(row * rowBytes, (row + 1) * rowBytes)]),
  );
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, COLOUR_TYPES[bytesPerPixel]], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
