/**
 * The objects of a V3 heap with 32-bit words, in a file's bytes (class ObjectMemory). An object has one to three header
 * words, whose low two bits say how many: 0 size, class and base header; 1 class and base header; 3 base header alone;
 * 2 marks a free chunk. Base header: 2 bits of type, 6 of size in words, 4 of format, 5 of compact class
 * index, 12 of hash, 3 for the collector. An oop is the address of the base header; an odd word is a SmallInteger.
 */
import { SqueakError } from './errors.js';
import { readV3File, type V3File } from './file.js';

const HEADER_OF_THREE = 0;
const HEADER_OF_TWO = 1;
const FREE_CHUNK = 2;

/** Format numbers of objects: up to 4 pointers, 6 words, 8 to 11 bytes, 12 to 15 a compiled method. */
export const FIRST_BYTE_FORMAT = 8;
export const METHOD_FORMAT = 12;
const LAST_POINTER_FORMAT = 4;
/** Slots of the special objects array, fixed by the VM. */
export const SPECIAL = { nil: 0, array: 7, compiledMethod: 16, doesNotUnderstand: 20, compactClasses: 28 } as const;

/** A V3 heap, walked once. Every accessor takes oops as saved in the file. */
export class V3Heap {
  readonly file: V3File;
  readonly #view: DataView;
  readonly #oops: readonly number[];
  readonly #known: ReadonlySet<number>;
  readonly #special: readonly number[];
  readonly #compact: readonly number[];

  /**
   * Reads a file's header and walks its heap.
   * @throws SqueakError 'ERR_SQUEAK_FORMAT', 'ERR_SQUEAK_DAMAGED'
   */
  constructor(bytes: Uint8Array) {
    this.file = readV3File(bytes);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#oops = this.#walk();
    this.#known = new Set(this.#oops);
    this.#special = this.fields(this.#object(this.file.specialObjects, 'the special objects array'));
    this.#compact = this.fields(this.#object(this.special(SPECIAL.compactClasses), 'the array of compact classes'));
  }

  /** Every object's oop, in the order of the heap. */
  get oops(): readonly number[] {
    return this.#oops;
  }
  get end(): number {
    return this.file.base + this.file.heapBytes;
  }
  get nil(): number {
    return this.special(SPECIAL.nil);
  }
  /** Whether an object begins at `oop`. */
  has(oop: number): boolean {
    return this.#known.has(oop);
  }
  /** @throws SqueakError 'ERR_SQUEAK_DAMAGED' if the array of special objects is too short */
  special(index: number): number {
    const oop = this.#special[index];
    if (oop === undefined) throw damaged(`the special objects array has no slot ${index}`);
    return oop;
  }
  /** Index in headers of a compact class, from 1; 0 if `oop` is none. */
  compactIndex(oop: number): number {
    return this.#compact.indexOf(oop) + 1;
  }

  offsetOf(address: number): number {
    return address - this.file.base + this.file.heapOffset;
  }
  /** @throws SqueakError 'ERR_SQUEAK_DAMAGED' if no word of the heap is at `address` */
  word(address: number): number {
    if (address % 4 !== 0 || address < this.file.base || address >= this.end)
      throw damaged(`a pointer leads to ${hex(address)}, where no word of the heap is`);
    return this.#view.getUint32(this.offsetOf(address), this.file.littleEndian);
  }
  format(oop: number): number {
    return (this.word(oop) >>> 8) & 15;
  }
  isPointers(oop: number): boolean {
    return this.format(oop) <= LAST_POINTER_FORMAT;
  }
  /** The number of words behind the base header. */
  size(oop: number): number {
    return this.#bytesWithHeader(oop) / 4 - 1;
  }
  field(oop: number, index: number): number {
    if (index >= this.size(oop)) throw damaged(`the object at ${hex(oop)} has no field ${index}`);
    return this.word(oop + 4 + 4 * index);
  }
  fields(oop: number): readonly number[] {
    return Array.from({ length: this.size(oop) }, (_, index) => this.word(oop + 4 + 4 * index));
  }
  /** The bytes of an object with a byte format. @throws SqueakError 'ERR_SQUEAK_DAMAGED' if it has fewer than none */
  bytes(oop: number): Uint8Array {
    const format = this.format(oop);
    const length = this.#bytesWithHeader(oop) - 4 - (format >= FIRST_BYTE_FORMAT ? format & 3 : 0);
    if (length < 0) throw damaged(`the object at ${hex(oop)} has ${length} bytes`);
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.offsetOf(oop + 4), length);
  }
  /** The class's oop. @throws SqueakError 'ERR_SQUEAK_DAMAGED' */
  classOf(oop: number): number {
    const header = this.word(oop);
    const compact = (header >>> 12) & 31;
    if (compact !== 0) {
      const found = this.#compact[compact - 1];
      if (found === undefined) throw damaged(`the object at ${hex(oop)} has compact class ${compact}, which is none`);
      return found;
    }
    if ((header & 3) > HEADER_OF_TWO) throw damaged(`the object at ${hex(oop)} has no class`);
    return (this.word(oop - 4) & ~3) >>> 0;
  }

  #bytesWithHeader(oop: number): number {
    const header = this.word(oop);
    return (header & 3) === HEADER_OF_THREE ? (this.word(oop - 8) & ~3) >>> 0 : header & 0xfc;
  }
  #object(oop: number, what: string): number {
    if (!this.has(oop)) throw damaged(`${what} is not where the file says, at ${hex(oop)}`);
    return oop;
  }
  #walk(): readonly number[] {
    const oops: number[] = [];
    const { base } = this.file;
    for (let at = base; at < this.end;) {
      const word = this.word(at);
      const type = word & 3;
      const oop = at + (type === HEADER_OF_THREE ? 8 : type === HEADER_OF_TWO ? 4 : 0);
      const bytes =
        type === HEADER_OF_THREE || type === FREE_CHUNK
          ? (word & ~3) >>> 0
          : oop + 4 <= this.end
            ? this.word(oop) & 0xfc
            : 0;
      if (bytes < 4 || oop + bytes > this.end)
        throw damaged(`the chain of objects breaks at ${hex(at)} (header ${hex(word)})`);
      if (type !== FREE_CHUNK) {
        if ((this.word(oop) & 3) !== type) throw damaged(`the headers of the object at ${hex(oop)} disagree`);
        oops.push(oop);
      }
      at = oop + bytes;
    }
    return oops;
  }
}

const hex = (address: number): string => `0x${address.toString(16)}`;
const damaged = (what: string): SqueakError =>
  new SqueakError('ERR_SQUEAK_DAMAGED', `The image's heap is damaged: ${what}.`);
