/** Where the library is that is preloaded into guarded programs: in a checkout's build, else in the package. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { ExperimentError } from '../record/errors.js';
import type { GuardMechanism } from '../record/words.js';
import { findRoot, PREBUILT } from '../root.js';
import type { Adapter } from './adapters.js';

const NAME = 'libturnkey-host.so';

/** @throws ExperimentError where it was not built */
export function hostLibrary(): string {
  const root = findRoot() ?? '';
  const found = [join(root, 'build', 'host', NAME), join(root, dirname(PREBUILT), NAME)].find((path) =>
    existsSync(path),
  );
  if (found === undefined)
    throw new ExperimentError(`there is no ${NAME} in ${root}: build it with \`npm run build:native\``);
  // the loader splits LD_PRELOAD at both, and there is no way to quote them
  if (/[ :]/.test(found))
    throw new ExperimentError(`${found} cannot be preloaded: its path has a space or a colon in it`);
  return found;
}

/** The module that makes a Node program's koffi a guarded one. */
export function registerModule(): string {
  return join(findRoot() ?? '', 'dist', 'src', 'register', 'preload.cjs');
}

/**
 * What a program's environment needs to be guarded: native/host preloaded, and for Node the module that guards koffi.
 * @param given the environment that the program has otherwise
 */
export function guardedEnvironment(
  mechanism: GuardMechanism,
  { adapter, isNode, given = {} }: { adapter?: Adapter; isNode: boolean; given?: NodeJS.ProcessEnv },
): Record<string, string> {
  const preloaded = [hostLibrary(), given['LD_PRELOAD'] ?? ''].filter((each) => each !== '');
  return {
    LD_PRELOAD: preloaded.join(':'),
    TURNKEY_HOST_MECHANISM: mechanism,
    ...(adapter === undefined ? {} : { TURNKEY_HOST_ADAPTER: adapter }),
    ...(isNode
      ? { NODE_OPTIONS: `${given['NODE_OPTIONS'] ?? ''} --require ${JSON.stringify(registerModule())}`.trim() }
      : {}),
  };
}
