/** What the tests of the command line share: turnkey run as a program, in a folder that is removed at the end. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { findKernel, findQemu } from '../../src/machine/index.js';
import { inProject } from '../../src/record/paths.js';

/** How turnkey ended, and what it printed. */
export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs turnkey with these arguments. */
export type Turnkey = (args: readonly string[], env?: Readonly<Record<string, string>>) => Ended;

/** A folder of this test file's own. */
export function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-test-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** turnkey in a folder. Surprises and skipped rows are told, and no failure: TURNKEY_STRICT is 0 unless `env` says. */
export function turnkeyIn(folder: string): Turnkey {
  return (args, env = {}) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [inProject('dist/src/cli/main.js'), ...args], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      env: { ...process.env, TURNKEY_STRICT: '0', ...env },
      cwd: folder,
    });
    return { code: status, out: stdout, err: stderr };
  };
}

/** Runs a shell's command in a guest of its own, and takes these files along. */
export function runInGuest(files: readonly string[], command: string): Ended {
  const taken = files.flatMap((path) => ['--with', path]);
  return turnkeyIn(process.cwd())(['emulated', ...taken, '--', '/bin/sh', '-c', command]);
}

/** Why no guest can be booted; false where one can. */
export function noMachine(): string | false {
  try {
    findQemu();
    findKernel();
    return false;
  } catch (error) {
    return `no emulated machine: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`;
  }
}
