/** Where the parts of the built project lie, relative to its root: the same in every lane. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root: three levels above dist/src/experiment. */
export const PROJECT_ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** Built files, relative to the root. cmake-js builds into build/. */
export const BUILT = {
  watch: 'build/native/watch/turnkey-watch',
  bench: 'build/native/bench/turnkey-bench',
  foreign: 'build/native/foreign/libturnkey_foreign.so',
  foreignConstructor: 'build/native/foreign/libturnkey_foreign_ctor.so',
  foreignThrow: 'build/native/foreign/libturnkey_foreign_throw.so',
  trial: 'dist/src/experiment/trial.js',
  experiments: 'dist/experiments',
} as const;

/** An absolute path in the project. */
export function inProject(relative: string): string {
  return join(PROJECT_ROOT, relative);
}

/** The built files that are missing. */
export function missingFiles(): readonly string[] {
  return Object.values(BUILT).filter((path) => !existsSync(inProject(path)));
}
