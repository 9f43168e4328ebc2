/**
 * A Lua program that a foreign function tries to ruin, in recorded runs: the wrong answer or a crash under the trap alone, the right answer under mprotect, and under keys in a guest.
 *
 * lanes: native
 * limit: 300 s
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { CorruptionRecord } from '../src/experiment/records.js';
import { readRun } from '../src/experiment/store.js';
import { findKernel, findQemu } from '../src/machine/index.js';
import { LUA_MISSING, luaHost } from '../src/vm/lua.js';

const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'turnkey-vm-'));
t.teardown(() => { rmSync(folder, { recursive: true, force: true }); });

const skip = existsSync(luaHost()) ? false : LUA_MISSING;
function unavailable(): string | false {
  if (skip !== false) return skip;
  try {
    findQemu();
    findKernel();
    return false;
  } catch (error) {
    return `no emulated machine: ${error instanceof Error ? error.message.split('\n')[0] ?? '' : String(error)}`;
  }
}

function turnkey(args: readonly string[]): { readonly code: number | null; readonly out: string; readonly err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder, env: { ...process.env, TURNKEY_STRICT: '0' } });
  return { code: status, out: stdout, err: stderr };
}

function corruption(name: string, lane: string, mechanisms: string): ReadonlyMap<string, CorruptionRecord> {
  const { code, err } = turnkey(['run', 'corruption', '--lane', lane, '--case', name, '--deny', 'write', '--mechanisms', mechanisms, '--seed', '3', '--out', `${name}-${lane}`]);
  t.equal(code, 0, err);
  return new Map(readRun(join(folder, `${name}-${lane}`)).records.flatMap((record) => (record.kind === 'corruption' ? [[record.mechanism, record] as const] : [])));
}
const answer = (record: CorruptionRecord | undefined): string | undefined => record?.evidence.aftermath[0]?.detail;

for (const name of ['lua-string', 'lua-table', 'lua-upvalue']) {
  t.test(`${name}: a wrong answer under the trap alone, the right one where the heap is closed`, { skip }, (t) => {
    const records = corruption(name, 'native', 'none,flag,mprotect-range,mprotect-page');
    for (const mechanism of ['none', 'flag']) {
      t.match(records.get(mechanism), { verdict: 'damaged', announced: false, surprise: false }, mechanism);
      t.match(answer(records.get(mechanism)), /^wrong answer/, mechanism);
    }
    for (const mechanism of ['mprotect-range', 'mprotect-page']) {
      t.match(records.get(mechanism), { verdict: 'prevented', surprise: false, evidence: { missing: [], diff: { changedBytes: 0 }, fault: { space: 'heap' } } }, mechanism);
      t.match(answer(records.get(mechanism)), /^right answer/, mechanism);
    }
    t.end();
  });
}

for (const name of ['lua-prototype', 'lua-state']) {
  t.test(`${name}: the program dies under the trap alone, and finishes where the heap is closed`, { skip }, (t) => {
    const records = corruption(name, 'native', 'flag,mprotect-range');
    t.match(records.get('flag'), { verdict: 'crashed', surprise: false, evidence: { process: { imageAtDeath: 'differs' } } });
    t.match(records.get('mprotect-range'), { verdict: 'prevented', surprise: false });
    t.match(answer(records.get('mprotect-range')), /^right answer/);
    t.end();
  });
}

t.test('keys, in a guest: the program finishes with the right answer, and does not under the trap alone', { skip: unavailable() }, (t) => {
  const records = corruption('lua-table', 'emulated', 'flag,pkeys');
  t.match(records.get('flag'), { verdict: 'damaged', lane: 'emulated' });
  t.match(answer(records.get('flag')), /^wrong answer/);
  const kept = records.get('pkeys');
  t.match(kept, { verdict: 'prevented', lane: 'emulated', surprise: false, evidence: { missing: [], fault: { siCodeName: 'SEGV_PKUERR', space: 'heap' } } });
  t.equal(kept?.evidence.fault?.pkey, kept?.evidence.fault?.spaceKey);
  t.match(answer(kept), /^right answer/);
  t.ok(kept?.evidence.aftermath.every(({ ok }) => ok), 'all of the aftermath works');
  t.end();
});

t.test('turnkey vm lua runs a script, with its arguments and its exit code', { skip }, (t) => {
  const script = join(folder, 'script.lua');
  writeFileSync(script, 'print(turnkey.mechanism, turnkey.deny, ...)\nos.exit(7)\n');
  const { code, out, err } = turnkey(['vm', 'lua', script, '--mechanism', 'mprotect-range', '--', 'one', '-two']);
  t.equal(code, 7, err);
  t.equal(out, 'mprotect-range\twrite\tone\t-two\n');
  t.match(err, 'lane native');
  t.equal(turnkey(['vm', 'lua', 'nothing.lua', '--mechanism', 'flag']).code, 1);
  t.equal(turnkey(['vm', 'python', script]).code, 1);
  t.equal(turnkey(['vm', 'lua', script, '--mechanism', 'process']).code, 2);
  t.end();
});
