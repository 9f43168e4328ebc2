/** ELF files in what was named: a file, a folder, a package of npm; and the libraries that a library needs. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

import { isElf, readElf } from './elf.js';

const SYSTEM = [
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
  '/usr/local/lib',
];

function elfFilesIn(path: string): readonly string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const at = join(path, entry.name);
    if (entry.isDirectory()) return elfFilesIn(at);
    return entry.isFile() && isElf(readFileSync(at).subarray(0, 64)) ? [at] : [];
  });
}

/**
 * The ELF files that a word names: a file or folder; else a package that is installed where the command runs.
 * @throws Error where it is neither
 */
export function filesOf(word: string): readonly string[] {
  if (existsSync(word)) return elfFilesIn(word);
  const folder = createRequire(join(process.cwd(), 'package.json'))
    .resolve.paths(word)
    ?.map((modules) => join(modules, word))
    .find((path) => existsSync(path));
  if (folder === undefined) throw new Error(`there is no file, folder or installed package '${word}'`);
  return elfFilesIn(folder);
}

/** Whether a module is the C library or the loader: loaded before anybody searches, and never unloaded. */
export const isLasting = (path: string): boolean =>
  /\/(?:libc\.so\.6|ld-linux-x86-64\.so\.2|(?:libc|ld)-[\d.]+\.so)$/.test(path);

/** Where the loader would find a library; undefined where this search does not. ld.so(8), without its cache. */
export function findLibrary(name: string, runPaths: readonly string[] = [], from = '/'): string | undefined {
  if (name.includes('/')) return existsSync(name) ? resolve(name) : undefined;
  const paths = [
    ...runPaths.map((path) => path.replace(/\$(ORIGIN|\{ORIGIN\})/g, from)),
    ...(process.env['LD_LIBRARY_PATH'] ?? '').split(':').filter((path) => path !== ''),
    ...SYSTEM,
  ];
  return paths.map((path) => join(path, name)).find((path) => existsSync(path));
}

/** A library's file and those of what it needs, but for modules that are loaded already. */
export function withNeeded(name: string, isLoaded: (path: string) => boolean): readonly string[] {
  const found = new Set<string>();
  const visit = (wanted: string, runPaths: readonly string[], from: string): void => {
    const path = findLibrary(wanted, runPaths, from);
    if (path === undefined || found.has(path) || isLoaded(path)) return;
    const bytes = readFileSync(path);
    if (!isElf(bytes)) return;
    found.add(path);
    const elf = readElf(bytes);
    for (const needed of elf.needed) visit(needed, elf.runPaths, dirname(path));
  };
  visit(name, [], '/');
  return [...found];
}
