/** What the tests of guarded callouts share: paths of the built libraries, running a script in a process of its own. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Path of a file that the build put beside the addon. */
export function built(name: string): string {
  return `${root}build/Release/${name}`;
}

export const FOREIGN = built('libturnkey_callout_foreign.so');
export const FOREIGN_FAULTS = built('libturnkey_foreign.so');

export interface ChildResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * The library and its koffi: outside the guest their files as they are, in the guest one file, since loading is slow
 * there. An import of koffi beside that file would load koffi a second time.
 */
const TURNKEY =
  process.env['TURNKEY_LANE'] === 'emulated'
    ? `import turnkey from '${new URL('../bundled/turnkey/launch.cjs', import.meta.url).href}';
const { Guard, Image, CalloutError, as, koffi } = turnkey;`
    : `import koffi from '${import.meta.resolve('koffi')}';
import { Guard, Image, CalloutError, as } from '${new URL('../../src/index.js', import.meta.url).href}';`;

/** Imports at the head of a child's script. */
export const CHILD_HEAD = `
import assert from 'node:assert/strict';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
${TURNKEY}
const FOREIGN = ${JSON.stringify(FOREIGN)};
const FOREIGN_FAULTS = ${JSON.stringify(FOREIGN_FAULTS)};
`;

/** Runs a module in a process of its own: for what may end one. */
export function runChild(
  script: string,
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly flags?: readonly string[];
  } = {},
): ChildResult {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...(options.flags ?? []),
      '--input-type=module',
      '-e',
      `${CHILD_HEAD}\nconst HEAD = ${JSON.stringify(CHILD_HEAD)};\n${script}`,
    ],
    { cwd: root, encoding: 'utf8', env: { ...process.env, ...options.env } },
  );
  return { status, signal, stdout, stderr };
}
