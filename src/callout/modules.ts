/**
 * Which module and which function an address belongs to. Asked late, answered as of the fault: a fault remembers the
 * *epoch* it came in. The list of mapped modules is taken, at the latest, just before a guarded unload ends that epoch.
 * Symbols come from the module's file, so that they can still be found after it was unloaded. (A library that koffi
 * itself unloads behind the guard's back is not seen.) File format: elf(5), System V gABI chapter 4.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

import { binding, type LoadedModule } from './binding.js';

/** A stretch of time in which no library was unloaded through a guard. */
export interface Epoch {
  modules: readonly LoadedModule[] | undefined;
}

let current: Epoch = { modules: undefined };

/** The epoch of now; to be kept by a fault. */
export function epoch(): Epoch {
  return current;
}

/** To be called before a library goes away. */
export function endEpoch(): void {
  current.modules = binding.modules();
  current = { modules: undefined };
}

export interface Location {
  /** Path as the loader knows it; the program's own for node itself. */
  readonly module: string;
  /** Address within the module as in its file. */
  readonly moduleOffset: bigint;
  readonly symbol?: string;
  readonly symbolOffset?: bigint;
}

function find(modules: readonly LoadedModule[], address: bigint): LoadedModule | undefined {
  return modules.find((module) => address >= module.start && address < module.end);
}

/** Where `address` lay in `when`; `undefined` outside every module. */
export function locate(address: bigint, when: Epoch): Location | undefined {
  let module = when.modules === undefined ? undefined : find(when.modules, address);
  if (module === undefined && when === current) {
    when.modules = binding.modules();
    module = find(when.modules, address);
  }
  if (module === undefined) return undefined;
  const path = module.path === '' ? process.execPath : module.path;
  const moduleOffset = address - module.bias;
  const symbol = symbolAt(path, moduleOffset);
  return symbol === undefined
    ? { module: path, moduleOffset }
    : { module: path, moduleOffset, symbol: symbol.name, symbolOffset: moduleOffset - symbol.value };
}

interface FunctionSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size: bigint;
}

const symbolTables = new Map<string, readonly FunctionSymbol[]>();

function symbolAt(path: string, offset: bigint): FunctionSymbol | undefined {
  let table = symbolTables.get(path);
  if (table === undefined) {
    try {
      table = readSymbols(path);
    } catch {
      table = []; /* no file (the vDSO, a deleted library): no symbol */
    }
    symbolTables.set(path, table);
  }
  let low = 0;
  let high = table.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((table[middle] as FunctionSymbol).value <= offset) low = middle + 1;
    else high = middle;
  }
  const found = table[low - 1];
  return found !== undefined && (found.size === 0n || offset < found.value + found.size) ? found : undefined;
}

const SECTION_SYMTAB = 2;
const SECTION_DYNSYM = 11;
const SYMBOL_FUNCTION = 2;
const SYMBOL_IFUNC = 10;
const SYMBOL_BYTES = 24;

/** The function symbols of a 64-bit little-endian ELF file, by address. */
function readSymbols(path: string): readonly FunctionSymbol[] {
  const file = openSync(path, 'r');
  try {
    const size = fstatSync(file).size;
    const read = (offset: number, bytes: number): Buffer => {
      if (offset < 0 || bytes < 0 || offset + bytes > size) throw new RangeError(`${path}: not a sound ELF file`);
      const buffer = Buffer.alloc(bytes);
      readSync(file, buffer, 0, bytes, offset);
      return buffer;
    };
    const header = read(0, 64);
    if (header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
      throw new RangeError(`${path}: not a 64-bit ELF file`);
    const sectionBytes = header.readUInt16LE(58);
    const sectionCount = header.readUInt16LE(60);
    const sections = read(Number(header.readBigUInt64LE(40)), sectionBytes * sectionCount);
    const place = (index: number): readonly [number, number] => [
      Number(sections.readBigUInt64LE(index * sectionBytes + 24)),
      Number(sections.readBigUInt64LE(index * sectionBytes + 32)),
    ];
    const found: FunctionSymbol[] = [];
    for (let i = 0; i < sectionCount; i++) {
      const type = sections.readUInt32LE(i * sectionBytes + 4);
      if (type !== SECTION_SYMTAB && type !== SECTION_DYNSYM) continue;
      const symbols = read(...place(i));
      const strings = read(...place(sections.readUInt32LE(i * sectionBytes + 40)));
      for (let at = 0; at + SYMBOL_BYTES <= symbols.length; at += SYMBOL_BYTES) {
        const kind = (symbols[at + 4] as number) & 0xf;
        const value = symbols.readBigUInt64LE(at + 8);
        if ((kind !== SYMBOL_FUNCTION && kind !== SYMBOL_IFUNC) || value === 0n) continue;
        const start = symbols.readUInt32LE(at);
        const end = strings.indexOf(0, start);
        found.push({ name: strings.toString('latin1', start, end), value, size: symbols.readBigUInt64LE(at + 16) });
      }
    }
    return found.sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
  } finally {
    closeSync(file);
  }
}
