/** Running Smalltalk scripts in Debian's Squeak VM behind the preloaded library; or why that cannot be done here. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { hostLibrary } from '../../src/guard/library.js';
import { PROJECT_ROOT } from '../../src/record/paths.js';
import { SqueakError } from '../../src/squeak/errors.js';
import { findSqueak, prepareImage, scriptCommand } from '../../src/squeak/vm.js';

export const SCRIPTS = join(PROJECT_ROOT, 'test/squeak/scripts');
export const FOREIGN = join(PROJECT_ROOT, 'build/Release/libturnkey_foreign.so');

export interface Ran {
  /** The exit code, or the name of the signal. */
  readonly end: number | string | null;
  readonly out: readonly string[];
  readonly err: string;
}

export type RunScript = (
  script: string,
  mechanism: string,
  words?: readonly string[],
  environment?: Readonly<Record<string, string>>,
) => Ran;

/** What runs a script of test/squeak/scripts, or the reason why none can be run. */
export function squeakRunner(): RunScript | string {
  const library = hostLibrary();
  let squeak;
  try {
    squeak = findSqueak();
  } catch (error) {
    if (error instanceof SqueakError) return error.message;
    throw error;
  }
  const found = squeak;
  const prepared = prepareImage(found, mkdtempSync(join(tmpdir(), 'turnkey-squeak-')));
  return (script, mechanism, words = [], environment = {}) => {
    const [vm = '', ...rest] = scriptCommand(found, prepared, join(SCRIPTS, script), words);
    const { status, signal, stdout, stderr } = spawnSync(vm, rest, {
      encoding: 'utf8',
      env: {
        ...process.env,
        LD_PRELOAD: [library, environment['LD_PRELOAD'] ?? ''].join(' ').trim(),
        TURNKEY_HOST_MECHANISM: mechanism,
        ...Object.fromEntries(Object.entries(environment).filter(([name]) => name !== 'LD_PRELOAD')),
      },
    });
    return { end: status ?? signal, out: stdout.split('\n').slice(0, -1), err: stderr };
  };
}
