/** The hosts: how each one's program is started, guarded or not, and what it needs in a guest. */
import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { HostName } from '../experiment/host-case.js';
import { hostLibrary, registerModule } from '../guard/library.js';
import { findProgram } from '../guard/program.js';
import { companions } from '../guard/travel.js';
import { cacheFolder } from '../machine/index.js';
import { ExperimentError } from '../record/errors.js';
import { inProject } from '../record/paths.js';
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
  /** For trials under `none` as well: the adapter mends what the VM's own FFI cannot do. */
  readonly repaired: boolean;
  readonly isNode: boolean;
  readonly files: readonly string[];
}

const first = (text: string): string => text.split('\n')[0] ?? '';

function interpreter(name: HostName, executable: string, script: string, flags: readonly string[] = []): Host {
  const program = findProgram(executable);
  const path = join(PROGRAMS, script);
  return {
    name,
    version: first(execFileSync(program.executable, ['--version'], { encoding: 'utf8' })),
    command: [program.executable, ...flags, path],
    repaired: false,
    isNode: name === 'node',
    files: [...companions(program, [path], inProject('.')), CALLEES, ...LIBRARIES],
  };
}

function squeak(): Host {
  const found = findSqueak();
  const prepared = prepareImage(found, join(cacheFolder(), 'squeak'));
  const script = join(PROGRAMS, 'squeak.st');
  return {
    name: 'squeak',
    version: dirname(realpathSync(found.vm)).split('/').at(-1) ?? '',
    command: scriptCommand(found, prepared, script),
    repaired: true,
    isNode: false,
    files: [...scriptFiles(found, prepared, script), CALLEES, ...LIBRARIES],
  };
}

/** @throws ExperimentError or SqueakError where the host is not here */
export function openHost(name: HostName): Host {
  switch (name) {
    case 'cpython':
      return interpreter(name, '/usr/bin/python3', 'cpython.py');
    case 'node':
      return interpreter(name, process.execPath, 'node.mjs', ['--expose-gc']);
    case 'ruby':
      return interpreter(name, '/usr/bin/ruby', 'ruby.rb');
    case 'squeak':
      return squeak();
    default:
      throw new ExperimentError(`there is no host ${String(name)}`);
  }
}

/** What `turnkey guard` would give the program. */
export function environmentOf(host: Host, mechanism: string): Readonly<Record<string, string>> {
  if (mechanism === 'none' && !host.repaired) return {};
  return {
    LD_PRELOAD: hostLibrary(),
    TURNKEY_HOST_MECHANISM: mechanism,
    ...(host.isNode ? { NODE_OPTIONS: `--require ${JSON.stringify(registerModule())}` } : {}),
    ...(host.name === 'squeak' ? { TURNKEY_HOST_ADAPTER: 'squeak' } : {}),
  };
}
