/**
 * Whether an occurrence is an instruction on a path, lies inside another instruction, or is no code: binutils' objdump
 * decides, from the beginning of the function that holds it.
 */
import { spawnSync } from 'node:child_process';

import type { Occurrence } from './search.js';

/** `unknown`: no symbol says where to begin, or there is no disassembler. */
export type Place = 'instruction' | 'inside' | 'unknown';

export interface Placed {
  readonly place: Place;
  /** Whether the mask of XRSTOR may hold PKRU (bit 9 of eax); null where the code does not tell. */
  readonly mask: 'without PKRU' | 'with PKRU' | null;
  /** The disassembly around it. */
  readonly lines: readonly string[];
}

const PKRU_BIT = 1 << 9;
const AFTER = 16n;
const MOST_BEFORE = 24;

/** objdump's place for an occurrence in a file. */
export function placeOf(path: string, occurrence: Occurrence, objdump = 'objdump'): Placed {
  const { address, symbolAddress } = occurrence;
  const nowhere: Placed = { place: 'unknown', mask: null, lines: [] };
  if (symbolAddress === null) return nowhere;
  const { status, stdout } = spawnSync(
    objdump,
    ['-d', '--no-show-raw-insn', `--start-address=${symbolAddress}`, `--stop-address=${address + AFTER}`, path],
    { encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  if (status !== 0) return nowhere;
  const lines = stdout.split('\n').flatMap((line) => {
    const [, at, text] = /^\s*([0-9a-f]+):\s+(.+)$/.exec(line) ?? [];
    return at === undefined || text === undefined ? [] : [{ at: BigInt(`0x${at}`), text: text.trim() }];
  });
  const index = lines.findIndex((line) => line.at === address);
  const upTo = index >= 0 ? index : lines.findIndex((line) => line.at > address);
  if (lines.length === 0) return nowhere;
  const around = lines.slice(Math.max(0, (upTo < 0 ? lines.length : upTo) - 3), (upTo < 0 ? lines.length : upTo) + 2);
  const shown = around.map(({ at, text }) => `${at.toString(16)}: ${text}`);
  const isInstruction = index >= 0 && /^(rex\S* )*(wrpkru|xrstors?(64)?)\b/.test(lines[index]?.text ?? '');
  if (!isInstruction) return { place: 'inside', mask: null, lines: shown };
  const before = lines.slice(Math.max(0, index - MOST_BEFORE), index).reverse();
  const set = before
    .map(({ text }) => /^mov\s+\$0x([0-9a-f]+),%[er]ax\b/.exec(text)?.[1])
    .find((value) => value !== undefined);
  const mask =
    occurrence.instruction === 'wrpkru' || set === undefined
      ? null
      : (Number.parseInt(set, 16) & PKRU_BIT) === 0
        ? 'without PKRU'
        : 'with PKRU';
  return { place: 'instruction', mask, lines: shown };
}
