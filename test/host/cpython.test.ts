/**
 * CPython behind native/host, unported: cpython.py under each mechanism, with the system's Python and ctypes. Keys are
 * tried in a guest of its own.
 * Broken once: PyMem_Calloc not replaced, so that resize's memory was closed; bytearrays left where they were; errcheck
 * called for a failed callout; PyEval_SaveThread not replaced, so that the heap was closed to PyDLL functions.
 * limit: 300 s
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { hostCpu, showsKeys } from '../../src/machine/host.mjs';
import { PROJECT_ROOT } from '../../src/record/paths.js';
import { runInGuest } from '../support/turnkey.js';

const PYTHON = '/usr/bin/python3';
const LIBRARY = join(PROJECT_ROOT, 'build-c', 'host', 'libturnkey-host.so');
const SCRIPT = join(PROJECT_ROOT, 'test', 'host', 'cpython.py');

/** The tests of cpython.py, as it prints them. */
const names = [...readFileSync(SCRIPT, 'utf8').matchAll(/^def (test_\w+)/gm)].map(([, name = '']) => name);

const probe = spawnSync(PYTHON, ['-c', 'import ctypes, sys; print(sys.version_info[:2] >= (3, 9))'], {
  encoding: 'utf8',
});
const missing = String(probe.stdout).trim() === 'True' ? false : `no ${PYTHON} of version 3.9 or later with ctypes`;

/** Every test of the script passed, and the program came to its end with the right answer. */
function judge(t: Test, output: string, status: number | null): void {
  const lines = output.split(/\r?\n/);
  for (const name of names) t.ok(lines.includes(`ok ${name}`), name);
  t.ok(lines.includes('sum 999000'), 'the program ends with the right answer');
  t.equal(status, 0);
  if (!t.passing()) t.comment(output);
}

function python(arguments_: readonly string[], env: Readonly<Record<string, string>>) {
  return spawnSync(PYTHON, arguments_, {
    encoding: 'utf8',
    env: { ...process.env, LD_PRELOAD: LIBRARY, ...env },
  });
}

for (const mechanism of ['flag', 'mprotect-range'])
  t.test(`CPython's callouts and heap under ${mechanism}`, { skip: missing }, (t) => {
    const { stdout, stderr, status } = python([SCRIPT], { TURNKEY_HOST_MECHANISM: mechanism });
    judge(t, stdout + stderr, status);
    t.end();
  });

/** The files of the modules that a script may import: what travels into the guest. */
const MODULES = 'ctypes, faulthandler, gc, os, signal, sys, threading, traceback, tracemalloc, site, encodings.ascii';
const FILES =
  `import ${MODULES}\n` +
  'for module in list(sys.modules.values()):\n' +
  '  path = getattr(module, "__file__", None)\n' +
  '  if path: print(path)\n';

t.test(
  'CPython under keys',
  { skip: missing || (showsKeys(hostCpu().flags) && 'this CPU has keys: the guest is for those without') },
  (t) => {
    const listed = spawnSync(PYTHON, ['-c', FILES], { encoding: 'utf8' });
    const executable = spawnSync(PYTHON, ['-c', 'import sys, os; print(os.path.realpath(sys.executable))'], {
      encoding: 'utf8',
    }).stdout.trim();
    const taken = [executable, LIBRARY, SCRIPT, ...listed.stdout.trim().split('\n')];
    const command = `TURNKEY_HOST_MECHANISM=pkeys LD_PRELOAD=${LIBRARY} exec ${executable} ${SCRIPT}`;
    const { code, out, err } = runInGuest(taken, command);
    judge(t, out + err, code);
    t.end();
  },
);

/** What the test reads of a process's report (native/host/report.c). */
interface Report {
  readonly pid: number;
  readonly parent: number;
  readonly failures: readonly unknown[];
}

t.test('a report is appended for each process', { skip: missing }, (t) => {
  const json = join(tmpdir(), `turnkey-host-${process.pid}.json`);
  const text =
    'import ctypes, os\n' +
    'try: ctypes.memset(16, 1, 8)\n' +
    'except OSError as error: print(error.errno)\n' +
    'if os.fork() == 0:\n' +
    '  if ctypes.CDLL(None).abs(-1) == 1: os._exit(0)\n' +
    'os.wait()\n';
  const { stdout, status } = python(['-c', text], { TURNKEY_HOST_MECHANISM: 'flag', TURNKEY_HOST_JSON: json });
  t.equal(status, 0);
  t.equal(stdout, '14\n');
  t.ok(existsSync(json));
  const lines = readFileSync(json, 'utf8').trim().split('\n');
  rmSync(json);
  const [child, parent] = lines.map((line) => JSON.parse(line) as Report);
  t.match(parent, { adapter: 'cpython', mechanism: 'flag', failed: 1, unguarded: 0, notAdopted: 0 });
  t.match(parent?.failures, [{ function: 'memset', count: 1, first: { signal: 'SIGSEGV', access: 'write' } }]);
  t.match(child, { callouts: 1, failed: 0, failures: [], parent: parent?.pid });
  t.end();
});

t.test('where the heap cannot be placed, the trap alone is said', { skip: missing }, (t) => {
  const text = 'import ctypes\ns = "a" * 40\nctypes.memset(id(s) + 48, 98, 4)\nprint(s[:5])\nctypes.memset(16, 1, 8)\n';
  const { stdout, stderr, status } = python(['-c', text], {
    PYTHONMALLOC: 'debug',
    TURNKEY_HOST_MECHANISM: 'mprotect-range',
  });
  t.equal(status, 0);
  t.equal(stdout, 'bbbba\n');
  t.match(stderr, /turnkey: Python's heap is open.*PYTHONMALLOC/);
  t.match(stderr, /exception in FFI call: SIGSEGV \(SEGV_MAPERR\) in memset: write 0x10/);
  t.end();
});

t.test('what a program lends is learned, and then lent', { skip: missing }, (t) => {
  const list = join(tmpdir(), `turnkey-lent-${process.pid}`);
  const text =
    'import ctypes\n' +
    'libc = ctypes.CDLL(None)\n' +
    'small, large, other = bytes(bytearray(b"a" * 20)), bytes(bytearray(b"q" * 5000)), bytes(bytearray(b"o" * 20))\n' +
    'failed = 0\n' +
    'for call in (lambda: libc.strcpy(small, b"hello"), lambda: libc.strncpy(large, b"B" * 2000, 2000)):\n' +
    '  try: call()\n' +
    '  except OSError: failed += 1\n' +
    'print(failed, small[:7], large[1998:2002], other == b"o" * 20)\n';
  const under = { TURNKEY_HOST_MECHANISM: 'mprotect-range' };
  t.match(python(['-c', text], under).stdout, "2 b'aaaaaaa' b'qqqq' True");
  const learning = python(['-c', text], { ...under, TURNKEY_HOST_LEARN: list });
  t.match(learning.stdout, "0 b'hello\\x00a' b'BBqq' True");
  t.match(learning.stderr, /learned: strcpy wrote into the memory of argument 1, bytes, \d+ times/);
  t.match(learning.stderr, /learned: strncpy wrote into the memory of argument 1, bytes, \d+ times/);
  const lending = python(['-c', text], { ...under, TURNKEY_HOST_LEND: list });
  t.equal(lending.stdout, "0 b'hello\\x00a' b'BBqq' True\n");
  t.equal(lending.stderr, '');
  const strange = spawnSync('sed', ['s,[^\t]*$,/usr/bin/other,', list], { encoding: 'utf8' }).stdout;
  writeFileSync(list, strange);
  const wrong = python(['-c', text], { ...under, TURNKEY_HOST_LEND: list });
  t.match(wrong.stdout, "2 b'aaaaaaa' b'qqqq' True");
  t.match(wrong.stderr, /was learned from another program, \/usr\/bin\/other: nothing is lent/);
  rmSync(list);
  t.end();
});

t.test('a child that cannot be guarded is named', { skip: missing }, (t) => {
  const program = join(PROJECT_ROOT, 'build-c', 'Release', 'turnkey-refuse'); // statically linked
  const text = `import subprocess\nsubprocess.run(['${program}'])\nsubprocess.run(['/bin/true'])\n`;
  const { stderr, status } = python(['-c', text], { TURNKEY_HOST_MECHANISM: 'flag' });
  t.equal(status, 0);
  const said = stderr.split('\n').filter((line) => line.startsWith('turnkey: '));
  t.same(said, [
    `turnkey: ${program} is statically linked: it runs unguarded, since no library can be preloaded into it`,
  ]);
  t.end();
});
