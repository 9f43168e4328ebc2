/**
 * The header of an image file of the Squeak family in the V3 format with 32-bit words: Squeak up to 4.x, Pharo up to 4,
 * Scratch 1, Etoys. The VM reads it in `readImageFromFile:HeapSize:StartingAt:` (class Interpreter).
 */
import { SqueakError } from './errors.js';

/** Versions of V3 with 32-bit words; 6504 adds block closures, 6505 floats in the platform's word order. */
const V3_VERSIONS: readonly number[] = [6502, 6504, 6505];
/** Versions that are recognised in order to say what they are. */
const OTHER_VERSIONS: ReadonlyMap<number, string> = new Map([
  [6521, 'Spur with 32-bit words (Squeak 5, Pharo 5 and later)'],
  [7033, 'Spur with 32-bit words and Sista bytecodes'],
  [68021, 'Spur with 64-bit words (Squeak 5, Pharo 5 and later)'],
  [68533, 'Spur with 64-bit words and Sista bytecodes'],
  [68000, 'V3 with 64-bit words'],
  [68002, 'V3 with 64-bit words and closures'],
  [68003, 'V3 with 64-bit words, closures and native floats'],
]);
/** A file may begin with a shell line, padded to 512 bytes. */
const PREFIX_BYTES = 512;
const HEADER_BYTES = 64;

/** Where things are in an image file. Offsets count from the file's first byte; addresses are as saved. */
export interface V3File {
  readonly version: number;
  readonly littleEndian: boolean;
  /** Offset of the header: 0, or 512 behind a shell line. */
  readonly headerOffset: number;
  /** Offset of the heap's first byte. */
  readonly heapOffset: number;
  readonly heapBytes: number;
  /** The address that the heap's first byte had when the image was saved. */
  readonly base: number;
  /** Oop of the special objects array. */
  readonly specialObjects: number;
}

/** Offset, from the header, of the word that says how many bytes the heap has. */
export const HEAP_BYTES_WORD = 8;

interface Place {
  readonly version: number;
  readonly littleEndian: boolean;
  readonly headerOffset: number;
}

/** The version in each place and byte order where a header may be. */
function places(view: DataView): readonly Place[] {
  return [0, PREFIX_BYTES]
    .filter((headerOffset) => headerOffset + HEADER_BYTES <= view.byteLength)
    .flatMap((headerOffset) =>
      [true, false].map((littleEndian) => ({
        version: view.getUint32(headerOffset, littleEndian),
        littleEndian,
        headerOffset,
      })),
    );
}

/**
 * Reads the header of an image file.
 * @throws SqueakError 'ERR_SQUEAK_FORMAT' for any other kind of file, 'ERR_SQUEAK_DAMAGED' where header and length
 * disagree
 */
export function readV3File(bytes: Uint8Array): V3File {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all = places(view);
  const place = all.find(({ version }) => V3_VERSIONS.includes(version));
  if (place === undefined) {
    const other = all.map(({ version }) => OTHER_VERSIONS.get(version)).find((name) => name !== undefined);
    throw new SqueakError(
      'ERR_SQUEAK_FORMAT',
      other === undefined
        ? 'This is no image file of the Squeak family: no known version is at its start.'
        : `This image is ${other}; only V3 with 32-bit words can be patched (versions ${V3_VERSIONS.join(', ')}).`,
    );
  }
  const word = (index: number): number => view.getUint32(place.headerOffset + 4 * index, place.littleEndian);
  const file: V3File = {
    ...place,
    heapOffset: place.headerOffset + word(1),
    heapBytes: word(2),
    base: word(3),
    specialObjects: word(4),
  };
  if (word(1) < HEADER_BYTES || file.heapBytes % 4 !== 0 || file.heapOffset + file.heapBytes > bytes.byteLength)
    throw new SqueakError(
      'ERR_SQUEAK_DAMAGED',
      `The header says ${word(1)} + ${file.heapBytes} bytes of header and heap, from offset ${place.headerOffset}; ` +
        `the file has ${bytes.byteLength}. It is cut short or damaged.`,
    );
  return file;
}
