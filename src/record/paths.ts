/** Where the parts of the built project lie, relative to its root: the same in every lane. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { findRoot, nativeFolder } from '../root.js';

/** The project's root. */
export const PROJECT_ROOT = findRoot() ?? process.cwd();

/** The folder of what CMake built, relative to the root. It travels into guests. */
export const NATIVE = nativeFolder(PROJECT_ROOT);

/** All experiments and a trial's program in one file: made in a checkout, where trials start by the thousand. */
const BUNDLED_TRIAL = 'dist/trial/launch.cjs';

/** Built files, relative to the root. */
export const BUILT = {
  watch: `${NATIVE}/turnkey-watch`,
  warm: `${NATIVE}/libturnkey_warm.so`,
  bench: `${NATIVE}/turnkey-bench`,
  foreign: `${NATIVE}/libturnkey_foreign.so`,
  foreignConstructor: `${NATIVE}/libturnkey_foreign_ctor.so`,
  foreignDestructor: `${NATIVE}/libturnkey_foreign_dtor.so`,
  foreignThrow: `${NATIVE}/libturnkey_foreign_throw.so`,
  // the package holds each experiment once, in a file of its own
  trial: existsSync(join(PROJECT_ROOT, BUNDLED_TRIAL)) ? BUNDLED_TRIAL : 'dist/src/trial/trial.js',
  costTrial: 'dist/src/trial/cost-trial.js',
  vmThread: 'dist/experiments/support/vm-thread.js',
  shortThread: 'dist/experiments/support/short-thread-body.js',
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

/** Text for a record: paths in the project are told from its root, which is nobody's business. */
export function withoutRoot(text: string): string {
  return text.replaceAll(`${PROJECT_ROOT}/`, '');
}
