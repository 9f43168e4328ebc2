/**
 * Where code can write PKRU: the bytes of WRPKRU, XRSTOR and XRSTORS at every offset of executable segments, since a
 * jump may land in the middle of an instruction. Intel SDM vol. 2, WRPKRU (NP 0F 01 EF), XRSTOR (NP 0F AE /5), XRSTORS
 * (NP 0F C7 /3), both with a memory operand.
 */
import { type Elf, readElf } from './elf.js';

export type RightsInstruction = 'wrpkru' | 'xrstor' | 'xrstors';

/** One place in a file. */
export interface Occurrence {
  readonly instruction: RightsInstruction;
  readonly offset: number;
  readonly address: bigint;
  /** The function that holds it by the symbol table; null where no symbol says. */
  readonly symbol: string | null;
  readonly symbolAddress: bigint | null;
}

const REGISTER_OPERANDS = 0xc0;

function instructionAt(bytes: Buffer, at: number): RightsInstruction | undefined {
  const second = bytes[at + 1];
  const third = bytes[at + 2];
  if (third === undefined) return undefined;
  if (second === 0x01 && third === 0xef) return 'wrpkru';
  if (third >= REGISTER_OPERANDS) return undefined;
  const extension = (third >> 3) & 7;
  if (second === 0xae && extension === 5) return 'xrstor';
  return second === 0xc7 && extension === 3 ? 'xrstors' : undefined;
}

function holder(elf: Elf, address: bigint): Elf['functions'][number] | undefined {
  let low = 0;
  let high = elf.functions.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((elf.functions[middle] as Elf['functions'][number]).address <= address) low = middle + 1;
    else high = middle;
  }
  const found = elf.functions[low - 1];
  return found !== undefined && (found.bytes === 0n || address < found.address + found.bytes) ? found : undefined;
}

/** All occurrences in an ELF file's executable segments, in order. */
export function searchElf(bytes: Buffer): readonly Occurrence[] {
  const elf = readElf(bytes);
  const found: Occurrence[] = [];
  for (const { offset, bytes: size, address } of elf.segments) {
    const end = Math.min(bytes.length, offset + size);
    for (let at = bytes.indexOf(0x0f, offset); at >= 0 && at + 2 < end; at = bytes.indexOf(0x0f, at + 1)) {
      const instruction = instructionAt(bytes, at);
      if (instruction === undefined) continue;
      const where = address + BigInt(at - offset);
      const symbol = holder(elf, where);
      found.push({
        instruction,
        offset: at,
        address: where,
        symbol: symbol?.name ?? null,
        symbolAddress: symbol?.address ?? null,
      });
    }
  }
  return found;
}
