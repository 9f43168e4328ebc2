// Where the emulated machine's parts are: QEMU, a kernel, busybox, the project itself. Nothing here downloads or
// installs; scripts/setup.mjs does, and leaves a note of what it fetched in the cache folder.

import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { findRoot } from '../root.js';
import { MachineError } from './errors.js';
import { cacheFolder } from './host.mjs';

/** The project's folder: it has the same path in a guest. */
export function projectRoot(): string {
  const root = findRoot();
  if (root === undefined) throw new MachineError('ERR_MACHINE_NOT_BUILT', 'no package.json above this module');
  return root;
}

/** The first executable of this name on PATH. */
export function findOnPath(name: string): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // not here
    }
  }
  return undefined;
}

/** What scripts/setup.mjs fetched; see its `machine.json`. */
interface Fetched {
  readonly kernel?: string;
  readonly busybox?: string;
}

function fetched(): Fetched {
  try {
    return JSON.parse(readFileSync(join(cacheFolder(), 'machine.json'), 'utf8')) as Fetched;
  } catch {
    return {};
  }
}

function readable(path: string | undefined): path is string {
  if (path === undefined || path === '') return false;
  try {
    accessSync(path, constants.R_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

const SET_UP = 'run `npm start` or `npm test` once, or `node scripts/setup.mjs`, which fetches what is missing';

/** QEMU's path. Throws MachineError ERR_MACHINE_NO_QEMU. */
export function findQemu(): string {
  const named = process.env['TURNKEY_QEMU'];
  if (named !== undefined && named !== '') {
    if (readable(named)) return named;
    throw new MachineError('ERR_MACHINE_NO_QEMU', `TURNKEY_QEMU names ${String(named)}, which cannot be read`);
  }
  const found = findOnPath('qemu-system-x86_64');
  if (found === undefined)
    throw new MachineError(
      'ERR_MACHINE_NO_QEMU',
      `no qemu-system-x86_64 on PATH (Debian: package qemu-system-x86); ${SET_UP}`,
    );
  return found;
}

/**
 * A kernel (a bzImage): the one named, TURNKEY_KERNEL, the one that the set-up unpacked, the newest readable one in
 * /boot.
 * Throws MachineError ERR_MACHINE_NO_KERNEL.
 */
export function findKernel(named?: string): string {
  const wanted = named ?? process.env['TURNKEY_KERNEL'];
  if (wanted !== undefined && wanted !== '') {
    if (!readable(wanted))
      throw new MachineError('ERR_MACHINE_NO_KERNEL', `the kernel ${String(wanted)} does not exist or cannot be read`);
    if (!isBzImage(wanted))
      throw new MachineError('ERR_MACHINE_NO_KERNEL', `${wanted} is not a Linux kernel image (no "HdrS" at 0x202)`);
    return wanted;
  }
  const { kernel } = fetched();
  if (readable(kernel)) return kernel;
  const installed = (existsSync('/boot') ? readdirSync('/boot') : [])
    .filter((name) => name.startsWith('vmlinuz-'))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => join('/boot', name))
    .find((path) => readable(path) && isBzImage(path));
  if (installed === undefined)
    throw new MachineError(
      'ERR_MACHINE_NO_KERNEL',
      `no guest kernel in ${cacheFolder()} or /boot; name one with --kernel FILE, or ${SET_UP}`,
    );
  return installed;
}

/** The boot protocol's mark; Documentation/arch/x86/boot.rst. */
function isBzImage(path: string): boolean {
  return readFileSync(path).subarray(0x202, 0x206).toString('latin1') === 'HdrS';
}

/** A static busybox, for jobs that want a shell; a guest does without. */
export function findBusybox(): string | undefined {
  const { busybox } = fetched();
  return [busybox, '/bin/busybox', '/usr/bin/busybox'].find(readable);
}
