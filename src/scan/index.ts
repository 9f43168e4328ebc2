/** A search for instructions that write PKRU (docs/hardening.md). Knows nothing of images or guards. */
import { readFileSync } from 'node:fs';

import { type Placed, placeOf } from './disassemble.js';
import { isElf } from './elf.js';
import { type Occurrence, searchElf } from './search.js';

export { filesOf, isLasting, withNeeded } from './files.js';
export { type RightsInstruction, searchElf } from './search.js';

export type Found = Occurrence & Placed;

/** What one file holds. */
export interface FileScan {
  readonly path: string;
  readonly bytes: number;
  readonly found: readonly Found[];
}

/** Whether a library with it could write rights: XRSTOR with a mask that leaves PKRU out cannot, on its own path. */
export function isDangerous(found: Found): boolean {
  return !(found.place === 'instruction' && found.mask === 'without PKRU');
}

/** Searches one file. @throws Error where it cannot be read or is no ELF file for x86-64 */
export function scanFile(path: string): FileScan {
  const bytes = readFileSync(path);
  if (!isElf(bytes)) throw new Error(`${path} is no ELF file for x86-64`);
  const found = searchElf(bytes).map((occurrence) => ({ ...occurrence, ...placeOf(path, occurrence) }));
  return { path, bytes: bytes.length, found };
}
