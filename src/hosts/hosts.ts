/** The hosts: how each one's program is started, guarded or not, and what it needs in a guest. */
import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { HostName } from '../experiment/host-case.js';
import { guardedEnvironment } from '../guard/library.js';
import { findProgram } from '../guard/program.js';
import { companions } from '../guard/travel.js';
import { cacheFolder } from '../machine/index.js';
import { inProject } from '../record/paths.js';
import type { GuardMechanism } from '../record/words.js';
import { findSqueak, prepareImage, scriptCommand, scriptFiles } from '../squeak/vm.js';

const PROGRAMS = inProject('experiments/hosts/programs');
export const CALLEES = inProject('build/Release/libturnkey_foreign.so');
/** What callees open by name. */
const LIBRARIES = ['libz.so.1', 'libsqlite3.so.0'];

export interface Host {
  readonly name: HostName;
  readonly version: string;
  /** The command without the words of a trial. */
  readonly command: readonly string[];
  readonly files: readonly string[];
}

const first = (text: string): string => text.split('\n')[0] ?? '';

function interpreter(name: HostName, executable: string, path: string, flags: readonly string[] = []): Host {
  const program = findProgram(executable);
  return {
    name,
    version: first(execFileSync(program.executable, ['--version'], { encoding: 'utf8' })),
    command: [program.executable, ...flags, path],
    files: [...companions(program, [path], inProject('.')), CALLEES, ...LIBRARIES],
  };
}

function squeak(script: string): Host {
  const found = findSqueak();
  const prepared = prepareImage(found, join(cacheFolder(), 'squeak'));
  return {
    name: 'squeak',
    version: dirname(realpathSync(found.vm)).split('/').at(-1) ?? '',
    command: scriptCommand(found, prepared, script),
    files: [...scriptFiles(found, prepared, script), CALLEES, ...LIBRARIES],
  };
}

/**
 * @param folder where the programs are: cpython.py, node.mjs, ruby.rb, squeak.st
 * @throws ExperimentError or SqueakError where the host is not here
 */
export function openHost(name: HostName, folder = PROGRAMS): Host {
  switch (name) {
    case 'cpython':
      return interpreter(name, '/usr/bin/python3', join(folder, 'cpython.py'));
    case 'node':
      return interpreter(name, process.execPath, join(folder, 'node.mjs'), ['--expose-gc']);
    case 'ruby':
      return interpreter(name, '/usr/bin/ruby', join(folder, 'ruby.rb'));
    case 'squeak':
      return squeak(join(folder, 'squeak.st'));
  }
}

/** What `turnkey guard` would give the program; Squeak's own FFI needs the adapter's repairs under `none` too. */
export function environmentOf({ name }: Host, mechanism: GuardMechanism): Readonly<Record<string, string>> {
  if (name === 'squeak') return guardedEnvironment(mechanism, { adapter: name, isNode: false });
  return mechanism === 'none' ? {} : guardedEnvironment(mechanism, { isNode: name === 'node' });
}
