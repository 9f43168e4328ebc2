/**
 * The command line, run as a program: usage errors as one line, exit codes, results on disk, and one real run of each kind.
 *
 * lanes: native, emulated
 * limit: 240 s
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { CorruptionRecord, Run } from '../src/experiment/records.js';
import { readRun, writeRun } from '../src/experiment/store.js';
import { exampleRun } from './experiment-example.js';

const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'turnkey-cli-'));
t.teardown(() => { rmSync(folder, { recursive: true, force: true }); });

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function turnkey(args: readonly string[], env: { readonly [name: string]: string } = {}): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: { ...process.env, TURNKEY_STRICT: '0', ...env }, cwd: folder });
  return { code: status, out: stdout, err: stderr };
}

const keys = turnkey(['probe']).code === 0;
const corruptionOf = (run: Run): readonly CorruptionRecord[] => run.records.filter((record) => record.kind === 'corruption');

t.test('wrong usage: one line, exit code 2, no stack', (t) => {
  const wrong: readonly [readonly string[], RegExp][] = [
    [['run', '--lane', 'moon'], /--lane .*native, emulated or auto/],
    [['run', '--mechanisms', 'flag,magic'], /no mechanism 'magic'; there are none, flag/],
    [['run', '--mechanisms', ','], /at least one/],
    [['run', '--seed', '-1'], /seed/],
    [['run', '--seed', '1.5'], /whole number/],
    [['run', '--repeat', '0'], /from 1 to/],
    [['fly'], /unknown command 'fly'/],
    [['run', '--fast'], /unknown option '--fast'/],
    [['report'], /missing required argument/],
  ];
  for (const [args, message] of wrong) {
    const { code, err } = turnkey(args);
    t.equal(code, 2, args.join(' '));
    t.match(err, message);
    t.equal(err.trim().split('\n').length, 1, `one line: ${err}`);
  }
  t.end();
});

t.test('what cannot be done: one line, exit code 1, a stack only with --verbose', (t) => {
  writeFileSync(join(folder, 'file'), 'x');
  writeFileSync(join(folder, 'old.json'), '{"schemaVersion": 99}');
  const failing: readonly [readonly string[], RegExp][] = [
    [['run', 'walk'], /nothing called 'walk' to run; there are corruption, honest, cost/],
    [['run', '--case', 'nothing-like-it'], /there is no experiment 'nothing-like-it'; turnkey list/],
    [['run', 'honest', '--case', 'wild-write'], /there is no honest 'wild-write'/],
    [['report', 'nowhere'], /cannot read nowhere: no such file or directory/],
    [['report', 'old.json'], /old\.json has schemaVersion 99; this version of Turnkey reads 1 only/],
    [['run', '--lane', 'native', '--image', 'nowhere.image'], /cannot read the image file .*nowhere\.image: no such file/],
    [['run', '--lane', 'native', '--image', '.'], /is not a file/],
    [['run', '--lane', 'native', '--case', 'wild-write', '--out', 'file/below'], /cannot write results to .*file\/below: a part of the path is not a directory/],
  ];
  for (const [args, message] of failing) {
    const { code, err } = turnkey(args);
    t.equal(code, 1, args.join(' '));
    t.match(err, message);
    t.equal(err.trim().split('\n').length, 1, `one line: ${err}`);
  }
  t.match(turnkey(['--verbose', 'report', 'nowhere']).err, /\n\s+at /);
  t.end();
});

t.test('probe: exit code and reason agree with its JSON', (t) => {
  const { code, out } = turnkey(['probe', '--json']);
  const value = JSON.parse(out) as { usable: boolean; reason: string };
  t.equal(code, value.usable ? 0 : 1);
  t.equal(value.reason === '', value.usable);
  t.match(turnkey(['probe']).out, value.usable ? /are usable here/ : value.reason);
  if (process.env['TURNKEY_LANE'] === 'emulated') t.ok(value.usable, 'the emulated machine has keys');
  t.end();
});

t.test('list names every experiment, with its summary', (t) => {
  const { out } = turnkey(['list']);
  const json = JSON.parse(turnkey(['list', '--json']).out) as { name: string; family: string; summary: string }[];
  t.ok(json.length >= 11);
  for (const { name, summary } of json) t.match(out, new RegExp(`^  ${name} +${summary.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`, 'm'));
  t.end();
});

t.test('report: the tables, and report.md written again', (t) => {
  const directory = join(folder, 'kept');
  writeRun(directory, exampleRun);
  const { code, out } = turnkey(['report', 'kept']);
  t.equal(code, 0);
  t.match(out, /wild-write/);
  t.match(out.trim().split('\n').at(-1), join(directory, 'report.md'));
  t.match(readFileSync(join(directory, 'report.md'), 'utf8'), /^# Turnkey/);
  t.end();
});

t.test('a run here: verdicts with evidence, files named last, records that say what was skipped', (t) => {
  const { code, out, err } = turnkey(['run', 'corruption', '--lane', 'native', '--case', 'wild-write', '--deny', 'write', '--seed', '3', '--out', 'wild']);
  t.equal(code, 0, err);
  t.same(out.trim().split('\n').slice(-2), [join(folder, 'wild', 'run.json'), join(folder, 'wild', 'report.md')]);
  const run = readRun(join(folder, 'wild'));
  t.equal(run.context.seed, 3);
  const verdicts = new Map(corruptionOf(run).map((record) => [record.mechanism, record]));
  t.match(verdicts.get('none'), { verdict: 'damaged', announced: false, surprise: false });
  t.match(verdicts.get('flag'), { verdict: 'damaged', announced: false });
  t.match(verdicts.get('flag')?.evidence.diff, { ranges: [{ space: 'old', bytes: 8 }] });
  t.match(verdicts.get('mprotect-range'), {
    verdict: 'prevented',
    evidence: {
      missing: [], fault: { siCodeName: 'SEGV_ACCERR', access: 'write', space: 'old', symbol: 'foreign_write64', pcModule: 'build/Release/libturnkey_foreign.so' },
      diff: { changedBytes: 0 }, process: { stage: 'finished', exitCode: 0 },
    },
  });
  if (keys) {
    const record = verdicts.get('pkeys');
    t.match(record, { verdict: 'prevented', lane: 'emulated', evidence: { missing: [], fault: { siCodeName: 'SEGV_PKUERR', space: 'old' }, diff: { changedBytes: 0 } } });
    t.equal(record?.evidence.fault?.pkey, record?.evidence.fault?.spaceKey, 'the fault names the space\'s key');
  } else {
    t.match(run.records.find((record) => record.kind === 'skipped' && record.mechanism === 'pkeys'), { lane: 'native', reason: /PKU|protection keys/ });
  }
  const expected = process.env['TURNKEY_LANE'] === 'emulated' ? 'emulated' : 'native';
  t.ok(run.records.every((record) => record.lane === expected), `everything is recorded as ${expected}`);
  t.notMatch(readFileSync(join(folder, 'wild', 'run.json'), 'utf8'), fileURLToPath(new URL('../../', import.meta.url)), 'no path of this machine\'s project');
  t.end();
});

t.test('deaths are compared: a null pointer without a trap', (t) => {
  const { code } = turnkey(['run', '--lane', 'native', '--case', 'null-pointer', '--mechanisms', 'none,flag', '--out', 'null']);
  t.equal(code, 0);
  const records = corruptionOf(readRun(join(folder, 'null')));
  t.match(records.find(({ mechanism }) => mechanism === 'none'), { verdict: 'crashed', evidence: { process: { signal: 'SIGSEGV', imageAtDeath: 'equal', lastSignal: { signal: 'SIGSEGV', siCode: 1, address: '0x0' } } } });
  t.match(records.find(({ mechanism }) => mechanism === 'flag'), { verdict: 'trapped', evidence: { fault: { siCodeName: 'SEGV_MAPERR', space: null } } });
  t.ok(records.find(({ mechanism }) => mechanism === 'flag')?.evidence.aftermath.every(({ ok }) => ok));
  t.end();
});

t.test('TURNKEY_STRICT=1 makes a skipped row a failure', (t) => {
  const args = ['run', '--lane', 'native', '--case', 'null-pointer', '--mechanisms', 'pkeys', '--deny', 'write', '--out', 'strict'];
  t.equal(turnkey(args).code, 0);
  t.equal(turnkey(args, { TURNKEY_STRICT: '1' }).code, keys ? 0 : 3);
  t.ok(existsSync(join(folder, 'strict', 'run.json')), 'the results are written all the same');
  t.end();
});

t.test('the same seed gives the same damage', (t) => {
  const damage = (out: string): unknown => {
    turnkey(['run', '--lane', 'native', '--case', 'wild-write', '--mechanisms', 'flag', '--seed', '11', '--out', out]);
    return corruptionOf(readRun(join(folder, out))).map(({ evidence }) => evidence.diff?.ranges);
  };
  t.same(damage('once'), damage('twice'));
  t.end();
});

t.test('honest work gives the same bytes', (t) => {
  turnkey(['run', 'honest', '--lane', 'native', '--case', 'qsort', '--out', 'honest']);
  const honest = readRun(join(folder, 'honest')).records.filter((record) => record.kind === 'honest');
  t.equal(honest.length, keys ? 7 : 5);
  t.same(new Set(honest.map(({ sha256 }) => sha256)).size, 1);
  t.ok(honest.every(({ imageEqual, outcome }) => imageEqual === true && (outcome === 'same' || outcome === 'reference')));
  t.end();
});

t.test('costs: times here, never in an emulated machine', (t) => {
  turnkey(['run', 'cost', '--lane', 'native', '--case', 'flip', '--quick', '--out', 'cost']);
  const { records } = readRun(join(folder, 'cost'));
  const costs = records.filter((record) => record.kind === 'cost');
  if (process.env['TURNKEY_LANE'] === 'emulated') {
    t.equal(costs.length, 0);
    t.match(records[0], { kind: 'skipped', reason: /times mean nothing/ });
  } else {
    t.ok(costs.length >= 4);
    t.ok(costs.every(({ unit, samples, median }) => unit === 'ns' && samples.length >= 3 && median > 0));
  }
  t.end();
});

t.test('a directory that may not be written to is told before anything is run', { skip: process.getuid?.() === 0 ? 'root: no permission stops it' : false }, (t) => {
  const locked = join(folder, 'locked');
  mkdirSync(locked);
  chmodSync(locked, 0o500);
  t.match(turnkey(['run', '--lane', 'native', '--out', 'locked']), { code: 1, err: /permission denied/ });
  t.end();
});
