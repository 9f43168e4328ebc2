/**
 * What a trial needs to know of its own process: modules by address, the tracing runner's channel, a private copy of
 * the image.
 */
import { readFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { basename } from 'node:path';

import { ffi } from '../callout/koffi.js';
import { withoutRoot } from '../record/paths.js';

/** One line of /proc/self/maps. */
interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  /** Readable and writable. */
  readonly open: boolean;
  /** Path of a file; empty for anonymous memory. */
  readonly path: string;
}

/** Parses /proc/PID/maps (proc(5)). */
export function parseMaps(text: string): readonly Mapping[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)$/.exec(line);
    return match === null
      ? []
      : [
          {
            start: BigInt(`0x${match[1] ?? '0'}`),
            end: BigInt(`0x${match[2] ?? '0'}`),
            open: (match[3] ?? '').startsWith('rw'),
            path: match[4] ?? '',
          },
        ];
  });
}

const maps = (): readonly Mapping[] => parseMaps(readFileSync('/proc/self/maps', 'utf8'));

/** How many bytes of a range are not mapped readable and writable. */
export function lostBytes(address: bigint, bytes: number): number {
  const end = address + BigInt(bytes);
  const there = maps().reduce((sum, one) => {
    const [from, to] = [one.start > address ? one.start : address, one.end < end ? one.end : end];
    return one.open && to > from ? sum + Number(to - from) : sum;
  }, 0);
  return bytes - there;
}

/**
 * The file (or vDSO) mapped at an address, in the project relative to its root; null for none, or memory without a
 * file.
 */
export function moduleAt(address: bigint): string | null {
  const path = maps().find(({ start, end }) => address >= start && address < end)?.path ?? '';
  // the kernel's own page of code is a stranger too
  return path.startsWith('/') || path === '[vdso]' ? withoutRoot(path) : null;
}

/** Paths of the VM's own modules in this process: node, koffi, Turnkey's addon. */
export function vmModules(): readonly string[] {
  const own = (path: string): boolean =>
    path === process.execPath || /^koffi.*\.node$/.test(basename(path)) || basename(path) === 'turnkey.node';
  return [
    ...new Set(
      maps()
        .map(({ path }) => path)
        .filter(own)
        .map(withoutRoot),
    ),
  ];
}

/** The name of an errno value, e.g. EFAULT. */
export function errnoName(value: number): string {
  return Object.entries(constants.errno).find(([, number]) => number === value)?.[0] ?? `errno ${value}`;
}

/** Tells the tracing runner a line; nothing where there is none (TURNKEY_WATCH_FD unset). */
export function tellWatch(line: string): void {
  const descriptor = process.env['TURNKEY_WATCH_FD'];
  if (descriptor !== undefined) writeSync(Number(descriptor), `${line}\n`);
}

/**
 * Copies memory to pages of their own and makes them read-only: what the tracing runner compares with after a death. By
 * the C library itself, unguarded: this is the experiment's own bookkeeping.
 */
export function privateCopy(address: bigint, bytes: number): bigint {
  const libc = ffi.load('libc.so.6');
  const mmap = libc.func(
    'void *mmap(void *address, size_t bytes, int protection, int flags, int file, long offset)',
  ) as (...args: unknown[]) => unknown;
  const memcpy = libc.func('void *memcpy(void *destination, void *source, size_t bytes)') as (
    ...args: unknown[]
  ) => unknown;
  const mprotect = libc.func('int mprotect(void *address, size_t bytes, int protection)') as (
    ...args: unknown[]
  ) => unknown;
  const [read, write, mapPrivate, mapAnonymous] = [1, 2, 2, 32]; // mmap(2)
  const copy = mmap(null, bytes, read | write, mapPrivate | mapAnonymous, -1, 0);
  const at = typeof copy === 'bigint' ? copy : ffi.address(copy);
  if (at === 0xffffffffffffffffn) throw new Error(`no memory for a copy of ${bytes} bytes`);
  memcpy(at, address, bytes);
  mprotect(at, bytes, read);
  return at;
}
