// The guest's first file system as a file, kept in the cache folder under a name made from what is in it.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';

import { type CpioEntry, writeCpio } from './cpio.js';
import { type GuestContents, guestEntries } from './files.js';
import { cacheFolder } from './host.mjs';

/** Size in bytes: a larger file is identified by inode, size and times; a smaller one by its bytes. */
const HASH_BYTES = 4 << 20;
const KEEP = 6;
const KEEP_MS = 10 * 60 * 1000;

function fingerprint(entries: readonly CpioEntry[]): string {
  const hash = createHash('sha256').update('turnkey initramfs 1\n');
  for (const entry of entries) {
    hash.update(`${JSON.stringify(entry)}\n`);
    if (entry.kind !== 'copy') continue;
    if (entry.sizeBytes <= HASH_BYTES) hash.update(readFileSync(entry.from));
    else {
      const state = statSync(entry.from, { bigint: true });
      hash.update(`${state.dev} ${state.ino} ${state.size} ${state.mtimeNs} ${state.ctimeNs}`);
    }
  }
  return hash.digest('hex').slice(0, 24);
}

/** The path of an initramfs with these contents, made if there is none yet. Throws what guestEntries throws. */
export function initramfs(contents: GuestContents): string {
  const entries = guestEntries(contents);
  const folder = join(cacheFolder(), 'initramfs');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${fingerprint(entries)}.cpio`);
  if (existsSync(path)) {
    const now = new Date();
    utimesSync(path, now, now);
    return path;
  }
  const partial = `${path}.${process.pid}.partial`;
  try {
    writeCpio(partial, entries);
    renameSync(partial, path);
  } finally {
    rmSync(partial, { force: true });
  }
  prune(folder);
  return path;
}

/** Keeps the newest few. One that QEMU may just be about to read is new, and stays. */
function prune(folder: string): void {
  const files = readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const state = statSync(path, { throwIfNoEntry: false });
    return state === undefined ? [] : [{ path, timeMs: state.mtimeMs }];
  });
  files.sort((a, b) => b.timeMs - a.timeMs);
  for (const { path, timeMs } of files.slice(KEEP)) {
    if (Date.now() - timeMs > KEEP_MS) rmSync(path, { force: true });
  }
}
