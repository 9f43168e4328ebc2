/** What a search needs of an ELF file: executable segments, functions, what it needs. elf(5); x86-64, little-endian. */

/** Bytes of a file that are mapped executable. */
export interface Segment {
  readonly offset: number;
  readonly bytes: number;
  readonly address: bigint;
}

export interface Elf {
  readonly segments: readonly Segment[];
  /** Functions by address, ascending. */
  readonly functions: readonly { readonly address: bigint; readonly bytes: bigint; readonly name: string }[];
  /** DT_NEEDED, and where to look first (DT_RPATH, DT_RUNPATH). */
  readonly needed: readonly string[];
  readonly runPaths: readonly string[];
}

const PT_LOAD = 1;
const PF_X = 1;
const SHT_SYMTAB = 2;
const SHT_DYNAMIC = 6;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const STT_GNU_IFUNC = 10;
const DT_NEEDED = 1n;
const DT_RPATH = 15n;
const DT_RUNPATH = 29n;
const EM_X86_64 = 62;

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly bytes: number;
  readonly link: number;
}

/** Whether these bytes begin an ELF file for x86-64. */
export function isElf(bytes: Buffer): boolean {
  return (
    bytes.length >= 64 && bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes.readUInt16LE(18) === EM_X86_64
  );
}

function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString('utf8', at, end < 0 ? bytes.length : end);
}

const word = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

/** Reads the tables. Throws RangeError where the file is cut off. */
export function readElf(bytes: Buffer): Elf {
  const programs = Array.from(
    { length: bytes.readUInt16LE(56) },
    (_, i) => word(bytes, 32) + i * bytes.readUInt16LE(54),
  );
  const segments = programs
    .filter((at) => bytes.readUInt32LE(at) === PT_LOAD && (bytes.readUInt32LE(at + 4) & PF_X) !== 0)
    .map((at) => ({
      offset: word(bytes, at + 8),
      bytes: word(bytes, at + 32),
      address: bytes.readBigUInt64LE(at + 16),
    }));
  const sections = Array.from({ length: bytes.readUInt16LE(60) }, (_, i): Section => {
    const at = word(bytes, 40) + i * bytes.readUInt16LE(58);
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: word(bytes, at + 24),
      bytes: word(bytes, at + 32),
      link: bytes.readUInt32LE(at + 40),
    };
  });
  const functions = new Map<bigint, { address: bigint; bytes: bigint; name: string }>();
  const dynamic: [bigint, string][] = [];
  for (const { type, offset, bytes: size, link } of sections) {
    const strings = sections[link]?.offset ?? 0;
    if (type === SHT_SYMTAB || type === SHT_DYNSYM)
      for (let at = offset; at + 24 <= offset + size; at += 24) {
        const kind = bytes.readUInt8(at + 4) & 15;
        const address = bytes.readBigUInt64LE(at + 8);
        if ((kind === STT_FUNC || kind === STT_GNU_IFUNC) && address !== 0n)
          functions.set(address, {
            address,
            bytes: bytes.readBigUInt64LE(at + 16),
            name: textAt(bytes, strings + bytes.readUInt32LE(at)),
          });
      }
    if (type === SHT_DYNAMIC)
      for (let at = offset; at + 16 <= offset + size; at += 16) {
        const tag = bytes.readBigInt64LE(at);
        if (tag === DT_NEEDED || tag === DT_RPATH || tag === DT_RUNPATH)
          dynamic.push([tag, textAt(bytes, strings + word(bytes, at + 8))]);
      }
  }
  return {
    segments,
    functions: [...functions.values()].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0)),
    needed: dynamic.flatMap(([tag, text]) => (tag === DT_NEEDED ? [text] : [])),
    runPaths: dynamic.flatMap(([tag, text]) => (tag === DT_NEEDED ? [] : text.split(':'))),
  };
}
