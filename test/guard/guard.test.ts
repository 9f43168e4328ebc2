/**
 * `turnkey guard`: programs that know nothing of Turnkey, started as their users start them.
 * Broken once: the exit code of the program not passed on; a static program let through (its summary then says that
 * nothing reported).
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { ADAPTERS, guard, type GuardOptions } from '../../src/guard/index.js';
import { findProgram } from '../../src/guard/program.js';
import { probe } from '../../src/index.js';
import { PROJECT_ROOT } from '../../src/record/paths.js';

const MAIN = join(PROJECT_ROOT, 'dist', 'src', 'cli', 'main.js');
const DATA = join(PROJECT_ROOT, 'test', 'data', 'register');

const folder = mkdtempSync(join(tmpdir(), 'turnkey-guard-test-'));
t.teardown(() => {
  rmSync(folder, { recursive: true, force: true });
});

const turnkey = (
  words: readonly string[],
  input = '',
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } =>
  spawnSync(process.execPath, [MAIN, 'guard', ...words], { cwd: DATA, encoding: 'utf8', input });

t.test('without a guard, such stores kill the program', (t) => {
  const plain = spawnSync(process.execPath, ['heap.mjs', '300', '1'], { cwd: DATA, encoding: 'utf8' });
  t.not(plain.status, 0, plain.stdout);
  t.end();
});

t.test('many callouts on four threads, one in ten of them bad: each is counted, and the answer is right', (t) => {
  const { status, stdout, stderr } = turnkey([
    '--mechanism',
    'flag',
    '--',
    process.execPath,
    'long.mjs',
    '200000',
    '4',
  ]);
  t.equal(status, 0, stderr);
  t.same(JSON.parse(stdout), { right: true, faults: 20_000 });
  t.match(stderr, /^turnkey: 220000 callouts, 20000 failed; lane native, adapter node$/m);
  t.end();
});

t.test("input, output and exit code are the program's, and --quiet says nothing", (t) => {
  const program = `process.stdin.on('data', (d) => process.stdout.write(d)).on('end', () => process.exit(7))`;
  const { status, stdout, stderr } = turnkey(['--quiet', '--', process.execPath, '-e', program], 'in and out');
  t.same([status, stdout, stderr], [7, 'in and out', '']);
  const killed = turnkey(['--', process.execPath, '-e', `process.kill(process.pid, 'SIGKILL')`]);
  t.equal(killed.status, 137);
  t.match(killed.stderr, /no process reported: the program was ended by a signal/);
  t.end();
});

t.test('what cannot be guarded: one clear sentence each', async (t) => {
  const put = (name: string, content: string | Buffer): string => {
    writeFileSync(join(folder, name), content, { mode: 0o755 });
    return join(folder, name);
  };
  const elf = Buffer.from(readFileSync(process.execPath).subarray(0, 4096));
  const narrow = Buffer.from(elf);
  narrow[4] = 1;
  const foreign = Buffer.from(elf);
  foreign.writeUInt16LE(183, 18);
  const unlinked = Buffer.from(elf);
  unlinked.writeUInt16LE(0, 56);
  const setuid = join(folder, 'setuid');
  copyFileSync('/usr/bin/env', setuid);
  if (process.getuid?.() === 0) chownSync(setuid, 65534, 65534);
  chmodSync(setuid, 0o6755);
  writeFileSync(join(folder, 'plain'), 'text');
  const [strange, alien] = [put('strange', 'no list'), put('alien', 'memset\t1\t1\t0\tbytes\t/usr/bin/other\n')];
  const plain: GuardOptions = {
    mechanism: 'mprotect-range',
    lane: 'native',
    with: [],
    noChildren: false,
    keys: { usable: false, reason: 'none' },
  };
  const env = '/usr/bin/env';
  const cases: readonly (readonly [string, RegExp, Partial<GuardOptions>?])[] = [
    ['no-such-program', /^there is no program 'no-such-program' on PATH$/],
    [join(folder, 'nothing'), /^there is no program .*nothing$/],
    [join(folder, 'plain'), /^.*plain is not an executable file$/],
    [put('words', 'words'), /^.*words is neither an ELF program nor a script with a '#!' line$/],
    [put('narrow', narrow), /^.*narrow is a 32-bit program/],
    [put('foreign', foreign), /^.*foreign is a program for another kind of CPU than x86-64$/],
    [put('static', unlinked), /^.*static is statically linked: no library can be preloaded into it\. It must be/],
    ...(process.getuid?.() === 0 ? [[setuid, /^.*setuid is setuid or setgid/] as const] : []),
    [env, /^the list of what to lend, .*none, cannot be read$/, { lend: join(folder, 'none') }],
    [env, /^.*strange is no list that --learn has written$/, { lend: strange }],
    [env, /^.*alien was learned from another program, \/usr\/bin\/other$/, { lend: alien }],
    [env, /^nothing can be learned where nothing closes the heap/, { mechanism: 'flag', learn: strange }],
    [process.execPath, /^learning and lending see the calls of libffi/, { lend: alien }],
    [env, /^protection keys are not usable here: none\. --lane emulated runs/, { mechanism: 'pkeys' }],
  ];
  for (const [program, message, options] of cases)
    await t.rejects(
      guard([program], { ...plain, ...options }, () => undefined),
      { message },
    );
  const unfound = turnkey(['--', 'no-such-program']);
  t.same([unfound.status, unfound.stderr], [1, "turnkey: there is no program 'no-such-program' on PATH\n"]);
  const unknown = turnkey(['--adapter', 'perl', '--', env]);
  t.equal(unknown.status, 2);
  t.match(unknown.stderr, /'perl' is invalid\. It must be one of /);
});

t.test(
  "a shim of pyenv's stands for the program that pyenv names, and is refused in its words if there is none",
  (t) => {
    const put = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text, { mode: 0o755 });
      return join(folder, name);
    };
    const pyenv = put(
      'pyenv',
      `#!/bin/sh\n[ "$*" = 'which env' ] && echo /usr/bin/env || { echo "no $2" >&2; exit 127; }\n`,
    );
    const shim = `#!/usr/bin/env bash\nset -e\nprogram="\${0##*/}"\nexec "${pyenv}" exec "$program" "$@"\n`;
    t.match(findProgram(put('env', shim)), { path: '/usr/bin/env', chain: ['/usr/bin/env'] });
    t.throws(() => findProgram(put('python9', shim)), {
      message: /^.*python9 is a shim of pyenv, which says: no python9$/,
    });
    t.end();
  },
);

const capable = join(folder, 'capable');
copyFileSync('/usr/bin/env', capable);
const noCapabilities =
  process.getuid?.() === 0
    ? spawnSync('/usr/sbin/setcap', ['cap_net_raw=ep', capable]).status !== 0 && 'setcap is not here, or cannot set any'
    : 'only root can give a file capabilities';

chmodSync(folder, 0o755);
const asNobody = (program: string) =>
  spawnSync(process.execPath, [MAIN, 'guard', '--', program, 'true'], {
    encoding: 'utf8',
    uid: 65534,
    env: { ...process.env, HOME: folder },
  });

/** Why the user nobody cannot run a program that has none; false where he can. */
function nobodyCannot(): string | false {
  const { status, stderr } = asNobody('/usr/bin/env');
  return status !== 0 && `nobody cannot run this checkout: ${stderr.trim().split('\n').pop() ?? ''}`;
}
const untried = noCapabilities === false ? nobodyCannot() : noCapabilities;

t.test('a program with file capabilities is refused to who is not root', { skip: untried }, (t) => {
  const { status, stderr } = asNobody(capable);
  t.equal(status, 1);
  t.match(stderr, /^turnkey: .*capable has file capabilities \(getcap\): the loader preloads nothing .*A copy of it/);
  t.end();
});

const PYTHON = '/usr/bin/python3';
const noPython = spawnSync(PYTHON, ['-c', 'import ctypes']).status !== 0 && `no ${PYTHON} with ctypes`;

t.test('a VM that no adapter knows, or not the named one: what is not closed is said', { skip: noPython }, (t) => {
  const words = ['--', PYTHON, '-c', 'import ctypes; print(ctypes.CDLL(None).abs(-3))'];
  const closing = ['--mechanism', 'mprotect-range'];
  for (const [adapter, message] of [
    ['ruby', /is not the VM that the adapter 'ruby' is for: it has none of its symbols\. .* without --adapter/],
    ['ffi', /is no VM that an adapter knows: mechanism mprotect-range closes none of its memory, and the trap/],
  ] as const) {
    const { status, stdout, stderr } = turnkey([...closing, '--adapter', adapter, ...words]);
    t.same([status, stdout], [0, '3\n'], stderr);
    t.match(stderr, message);
    t.match(stderr, /^turnkey: mprotect-range closed no memory of \/usr\/bin\/python3.*: the trap alone caught its/m);
  }
  const { stderr } = turnkey([...closing, ...words]);
  t.match(stderr, /^turnkey: mprotect-range closed the heap in every callout$/m);
  // a wrapper makes no callout, and is not told
  const wrapped = turnkey([...closing, '--adapter', 'cpython', '--', '/bin/sh', '-c', `${PYTHON} -c 'print(1)'; true`]);
  t.same([wrapped.status, wrapped.stdout], [0, '1\n']);
  t.notMatch(wrapped.stderr, /is not the VM/);
  t.end();
});

t.test('where there are no keys, keys are refused, and the lane that has them is named', (t) => {
  const { status, stdout, stderr } = turnkey(['--mechanism', 'pkeys', '--', process.execPath, '-p', '1']);
  if (probe().usable) t.same([status, stdout], [0, '1\n'], stderr);
  else {
    t.same([status, stdout], [1, '']);
    t.match(stderr, /^turnkey: protection keys are not usable here: .*--lane emulated runs the program in a guest/);
    const { stderr: said } = turnkey(['--', process.execPath, '-p', '1']);
    t.match(said, /^turnkey: no protection keys here \(.*\): the trap alone guards the program, and its heap is open/);
  }
  t.end();
});

t.test('the adapters that can be named are those that native/host has', (t) => {
  const source = readFileSync(join(PROJECT_ROOT, 'native', 'host', 'start.c'), 'utf8');
  const [, list = ''] = /adapters\[\] = \{([^}]*)\}/.exec(source) ?? [];
  t.same(
    [...list.matchAll(/host_adapter_(\w+)/g)].map(([, name]) => name),
    ADAPTERS,
  );
  t.end();
});
