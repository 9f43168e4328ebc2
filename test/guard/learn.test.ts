/**
 * `turnkey guard --lane emulated --learn`, then `--lend`: a program that breaks under keys is understood in one run.
 * Broken once: a program after -c taken for a path (ENAMETOOLONG).
 * Should break it: the list not read back from the guest, so that it stays empty.
 * limit: 300 s
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { PROJECT_ROOT } from '../../src/record/paths.js';
import { noMachine } from '../support/turnkey.js';

const MAIN = join(PROJECT_ROOT, 'dist', 'src', 'cli', 'main.js');
const PYTHON = '/usr/bin/python3';
const missing = existsSync(PYTHON) ? noMachine() : `no ${PYTHON}`;

/** Lends callees the memory of `bytes` objects, which stay closed; and one that no callee has any business in. */
const PROGRAM = `
import ctypes
libc = ctypes.CDLL(None)
small, large, other = bytes(bytearray(b"a" * 20)), bytes(bytearray(b"q" * 5000)), bytes(bytearray(b"o" * 20))
failed = []
for call in (lambda: libc.strcpy(small, b"hello"), lambda: libc.strncpy(large, b"B" * 2000, 2000)):
  try: call()
  except OSError as error: failed.append(error.code)
print(failed, small[:7], large[1998:2002], other == b"o" * 20)
`;

t.test('what a program lends is learned under keys in the guest, and then lent', { skip: missing }, (t) => {
  const folder = t.testdir();
  const list = join(folder, 'list');
  const guarded = (option: string) =>
    spawnSync(process.execPath, [MAIN, 'guard', '--lane', 'emulated', option, list, '--', PYTHON, '-c', PROGRAM], {
      cwd: folder,
      encoding: 'utf8',
    });
  const learning = guarded('--learn');
  t.equal(learning.status, 0, learning.stderr);
  t.match(learning.stdout, /^\[\] b'hello\\x00a' b'BBqq' True\r?$/m, learning.stderr);
  t.match(learning.stderr, /learned: strcpy wrote into the memory of argument 1, bytes, \d+ times/);
  t.match(readFileSync(list, 'utf8'), /^strcpy\t1\t\d+\t\d+\tbytes\t\/usr\/bin\/python3\S*$/m);
  const lending = guarded('--lend');
  t.equal(lending.status, 0, lending.stderr);
  t.match(lending.stdout, /^\[\] b'hello\\x00a' b'BBqq' True\r?$/m, lending.stderr);
  t.match(lending.stderr, /^turnkey: \d+ callouts, 0 failed; lane emulated, adapter cpython\r?$/m);
  t.match(lending.stderr, /^turnkey: pkeys closed the heap in every callout\r?$/m);
  t.end();
});
