/**
 * What goes along with a program into the emulated lane without being named. That is the program, its interpreter, the
 * interpreter's library folders, and the folders of the scripts and files among its arguments.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';

import { ExperimentError } from '../record/errors.js';
import { seemsToBe } from './adapters.js';
import type { Program } from './program.js';

/** More than this in one folder is no script's folder: someone's home, or all of /tmp. */
const MOST_BYTES = 512 << 20;

/** Parts of Python's library that programs do not import. */
const PYTHON_EXTRAS = /^(test|idlelib|turtledemo|ensurepip|lib2to3|pydoc_data|tkinter|__pycache__|config-.*)$/;

/** How an interpreter prints its library folders, one a line. */
const ASKS = {
  python: ['-c', 'import sys; print("\\n".join(path for path in sys.path if path))'],
  ruby: ['-e', 'puts $LOAD_PATH, Gem.path'],
} as const;

function libraryFolders(executable: string): readonly string[] {
  const vm = seemsToBe(executable);
  if (vm !== 'python' && vm !== 'ruby') return [];
  const folders = execFileSync(executable, ASKS[vm], { encoding: 'utf8' })
    .split('\n')
    .filter((path) => path !== '' && existsSync(path) && statSync(path).isDirectory());
  if (vm === 'ruby') return folders;
  return folders.flatMap((folder) =>
    existsSync(join(folder, 'os.py'))
      ? readdirSync(folder).flatMap((name) => (PYTHON_EXTRAS.test(name) ? [] : [join(folder, name)]))
      : [folder],
  );
}

/** Bytes of the files below a folder; counting stops past `most`. */
function bytesIn(folder: string, most: number): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += bytesIn(path, most - bytes);
    else if (entry.isFile()) bytes += statSync(path).size;
    if (bytes > most) return bytes;
  }
  return bytes;
}

/** Whether a word is a file's path. A program after `-c` is none, and may be longer than a name can be. */
function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The folder of a file among the arguments, and for Node the packages above it. */
function foldersOf(file: string, isNode: boolean, root: string): readonly string[] {
  const folder = dirname(realpathSync(file));
  if (`${folder}${sep}`.startsWith(`${root}${sep}dist${sep}`)) return []; // travels with the project
  if (bytesIn(folder, MOST_BYTES) > MOST_BYTES)
    throw new ExperimentError(
      `the folder of ${basename(file)}, ${folder}, holds more than ${String(MOST_BYTES >> 20)} MiB: ` +
        'put the program into a folder of its own, and name what else it needs by --with',
    );
  const packages: string[] = [];
  for (let above = folder; isNode; above = dirname(above)) {
    // the project's own packages travel with it
    if (above !== root && existsSync(join(above, 'node_modules'))) packages.push(join(above, 'node_modules'));
    if (above === dirname(above)) break;
  }
  return [folder, ...packages];
}

/**
 * Files and folders to take along.
 * @param words the program's arguments
 * @param root the project's folder, which travels anyway
 * @throws ExperimentError where a script's folder is too large to be taken whole
 */
export function companions(program: Program, words: readonly string[], root: string): readonly string[] {
  const isNode = seemsToBe(program.executable) === 'node';
  const scripts = [...program.chain.slice(0, -1), ...words]
    .filter((word) => !word.startsWith('-'))
    .map((word) => resolve(word))
    .filter(isFile);
  return [
    ...new Set([
      ...program.chain,
      program.executable,
      ...libraryFolders(program.executable),
      ...scripts.flatMap((file) => foldersOf(file, isNode, root)),
    ]),
  ];
}
