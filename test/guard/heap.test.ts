// lanes: native, emulated
/**
 * V8's live heap behind `turnkey guard`, in a program that knows nothing of Turnkey. In the guest, which has keys, the
 * same command protects by keys.
 * Broken once: the Node adapter's `heap` answering -1. The stores went through, and the program died of SIGSEGV.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import type { GuardReport } from '../../src/guard/index.js';
import { probe } from '../../src/index.js';
import { PROJECT_ROOT } from '../../src/record/paths.js';

const MAIN = join(PROJECT_ROOT, 'dist', 'src', 'cli', 'main.js');
const DATA = join(PROJECT_ROOT, 'test', 'data', 'register');
const CLOSES = probe().usable ? 'pkeys' : 'mprotect-range';

t.test("stores of a callee into V8's live heap are prevented, and the program's answer is right", (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-guard-test-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const program = [process.execPath, '--expose-gc', 'heap.mjs', '150', '1'];
  const file = join(folder, 'heap.json');
  const words = [MAIN, 'guard', '--mechanism', CLOSES, '--json', file, '--', ...program];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: DATA, encoding: 'utf8' });
  t.equal(status, 0, stderr);
  const { outcomes, ...answer } = JSON.parse(stdout) as { readonly outcomes: Readonly<Record<string, number>> };
  t.same(answer, { sum: 1250263890, honest: 11175, mappings: true });
  const code = CLOSES === 'pkeys' ? 'SEGV_PKUERR' : 'SEGV_ACCERR';
  const [known = '', ...others] = Object.keys(outcomes).sort((a, b) => (outcomes[b] ?? 0) - (outcomes[a] ?? 0));
  t.equal(known, `${code} in heap`);
  for (const other of others) t.match(other, new RegExp(`^${code} in (code|read-only)$`));
  const report = JSON.parse(readFileSync(file, 'utf8')) as GuardReport;
  t.match(report, {
    asked: CLOSES,
    exitCode: 0,
    processes: [{ adapter: 'node', mechanism: CLOSES, notAdopted: 0 }],
    koffi: [{ callouts: 300, failures: [{ function: 'memset', count: 150 }] }],
  });
  t.ok((report.processes[0]?.heapBytes ?? 0) > 1 << 20, 'the heap is reported, which Node gives up before it ends');
  t.match(stderr, /^turnkey: 300 callouts, 150 failed; lane native, adapter node$/m);
  t.match(stderr, new RegExp(`^turnkey: ${CLOSES} closed the heap in every callout$`, 'm'));
  t.match(stderr, /^turnkey: 150 × exception in FFI call: memset \(libc\.so\.6\): SIGSEGV .* in space 'heap'/m);
  t.end();
});
