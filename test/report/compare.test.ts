/** Comparing runs, intervals, and tables for other programs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import { randomFrom } from '../../src/record/random.js';
import type { CostRecord, Run } from '../../src/record/records.js';
import { readRun, writeRun } from '../../src/record/store.js';
import { compareRuns, differs, isWorse, renderComparison } from '../../src/report/compare.js';
import { csvLine, renderCsv } from '../../src/report/csv.js';
import { bootstrapRatio } from '../../src/report/findings/bootstrap.js';
import { findings } from '../../src/report/findings/index.js';
import { exampleCorruption, exampleCost, exampleHonest, exampleSkipped, withRecords } from '../support/example-run.js';

/** Samples of a noisy measurement around `middle`, with a tail upwards as timings have. */
function noisy(middle: number, seed: number, count = 30): CostRecord {
  const random = randomFrom(seed);
  const samples = Array.from({ length: count }, () => middle * (0.97 + 0.06 * random() + (random() < 0.1 ? 0.3 : 0)));
  return { ...exampleCost, samples, median: [...samples].sort((a, b) => a - b)[count >> 1] ?? middle };
}
const counted = (value: number, mechanism: CostRecord['mechanism'], counts: CostRecord['counts']): CostRecord => ({
  ...exampleCost,
  lane: 'emulated',
  unit: 'instructions',
  mechanism,
  samples: [value + 1, value],
  median: value,
  ...(counts === undefined ? {} : { counts }),
});
const none = { wrpkru: 2, rdpkru: 2, syscalls: 0, faults: 0 };

t.test('a run is not different from itself', (t) => {
  const run = readRun(inProject('test/fixtures/run-quick'));
  const comparison = compareRuns(run, run);
  t.ok(comparison.costs.length > 30);
  t.equal(differs(comparison), false);
  t.same([comparison.onlyA, comparison.onlyB, comparison.context], [[], [], []]);
  t.match(renderComparison(comparison, { all: false }), /No real difference\.$/);
  t.end();
});

t.test('noise around the same value is no difference, a quarter more is', (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const same = compareRuns(withRecords([noisy(5000, seed)]), withRecords([noisy(5000, seed + 1000)]));
    t.equal(same.costs[0]?.real, false, `seed ${seed}: same`);
    const slower = compareRuns(withRecords([noisy(5000, seed)]), withRecords([noisy(6250, seed + 1000)])).costs[0];
    t.ok(slower?.real === true && slower.change === 'worse', `seed ${seed}: slower`);
  }
  t.end();
});

t.test('the interval of a ratio covers the truth about as often as it says', (t) => {
  let covered = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const interval = bootstrapRatio(noisy(100, seed).samples, noisy(130, seed + 5000).samples, 500);
    if (interval.low <= 1.3 && interval.high >= 1.3) covered++;
  }
  t.ok(covered >= 180, `${covered} of 200`);
  t.end();
});

t.test('the threshold decides what is worth telling', (t) => {
  const [a, b] = [withRecords([noisy(5000, 1, 200)]), withRecords([noisy(5400, 2, 200)])];
  t.equal(isWorse(compareRuns(a, b, 0.05)), true);
  t.equal(isWorse(compareRuns(a, b, 0.2)), false);
  t.equal(isWorse(compareRuns(b, a, 0.05)), false, 'faster is not worse');
  t.equal(differs(compareRuns(b, a, 0.05)), true);
  t.end();
});

t.test('too few samples decide nothing', (t) => {
  const compared = compareRuns(
    withRecords([exampleCost]),
    withRecords([{ ...exampleCost, samples: [50000], median: 50000 }]),
  ).costs[0];
  t.equal(compared?.real, false);
  t.match(compared?.rule, /fewer than 5 samples/);
  t.end();
});

t.test('counts: user mode exactly, kernel within 2 %, signals and split mappings within 6 %', (t) => {
  const real = (a: CostRecord, b: CostRecord): boolean | undefined =>
    compareRuns(withRecords([a]), withRecords([b])).costs[0]?.real;
  t.equal(real(counted(56.008, 'pkeys', none), counted(56.2, 'pkeys', none)), false);
  t.equal(real(counted(56, 'pkeys', none), counted(57, 'pkeys', none)), true);
  const calls = { ...none, syscalls: 2 };
  t.equal(real(counted(10000, 'mprotect-range', calls), counted(10150, 'mprotect-range', calls)), false);
  t.equal(real(counted(10000, 'mprotect-range', calls), counted(10300, 'mprotect-range', calls)), true);
  t.equal(real(counted(10000, 'mprotect-page', calls), counted(10500, 'mprotect-page', calls)), false);
  t.equal(real(counted(10000, 'flag', { ...calls, faults: 1 }), counted(10700, 'flag', { ...calls, faults: 1 })), true);
  t.end();
});

t.test('changed verdicts and outcomes are told, and whether for the worse', (t) => {
  const a = withRecords([exampleCorruption, exampleHonest, { ...exampleHonest, mechanism: 'pkeys', outcome: 'same' }]);
  const b = withRecords([
    { ...exampleCorruption, verdict: 'damaged' },
    exampleHonest,
    { ...exampleHonest, mechanism: 'pkeys', outcome: 'differs' },
  ]);
  const comparison = compareRuns(a, b);
  t.same(
    comparison.outcomes.map(({ what, change }) => [what, change]),
    [
      ['wild-write, pkeys, emulated', 'worse'],
      ['honest zlib, pkeys, native', 'worse'],
    ],
  );
  t.equal(isWorse(comparison), true);
  t.equal(isWorse(compareRuns(b, a)), false);
  t.match(renderComparison(comparison, { all: false }), /prevented.*damaged.*worse/);
  const host: Run = { ...a, context: { ...a.context, host: { ...a.context.host, cpu: 'Another CPU' } } };
  t.match(renderComparison(compareRuns(a, host), { all: false }), /CPU.*A CPU.*Another CPU/);
  t.end();
});

t.test('what only one run has is named, and two lanes are never compared', (t) => {
  const comparison = compareRuns(
    withRecords([exampleCost, exampleSkipped]),
    withRecords([counted(5000, 'mprotect-range', none)]),
  );
  t.equal(comparison.costs.length, 0);
  t.equal(comparison.onlyA.length, 2);
  t.equal(comparison.onlyB.length, 1);
  t.end();
});

/** A reader of RFC 4180, to see that what is written comes back. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted === undefined ? (bare ?? '') : quoted.replaceAll('""', '"'));
    if (end === '\r\n') rows.push([]);
  }
  rows.pop();
  return rows;
}

t.test('CSV: every field comes back, whatever is in it', (t) => {
  t.equal(csvLine(['a', 1, null, true, 'x,"y"\n']), 'a,1,,true,"x,""y""\n"\r\n');
  const harm = 'comma, "quote"\r\nnew line';
  const run = withRecords([
    { ...exampleCorruption, evidence: { ...exampleCorruption.evidence, because: harm } },
    exampleHonest,
    exampleCost,
    { ...exampleCost, varied: { threads: 2 } },
    exampleSkipped,
  ]);
  const tables = renderCsv(findings(run));
  for (const [name, text] of tables) {
    const rows = readCsv(text);
    t.ok(
      rows.every((row) => row.length === rows[0]?.length),
      `${name}: rows are as wide as the head`,
    );
  }
  const corruption = readCsv(tables.get('corruption.csv') ?? '');
  t.equal(corruption[1]?.[corruption[0]?.indexOf('because') ?? -1], harm);
  const samples = readCsv(tables.get('samples.csv') ?? '');
  t.equal(samples.length, 1 + 6);
  t.same(
    samples[0]?.filter((name) => name.startsWith('varied_')),
    ['varied_imageBytes', 'varied_threads'],
  );
  t.end();
});

t.test('the commands: exit codes, and files', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-compare-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeRun(join(folder, 'a'), withRecords([exampleCorruption, noisy(5000, 1)]));
  writeRun(join(folder, 'b'), withRecords([{ ...exampleCorruption, verdict: 'damaged' }, noisy(9000, 2)]));
  const turnkey = (
    ...args: string[]
  ): { readonly status: number | null; readonly stdout: string; readonly stderr: string } =>
    spawnSync(process.execPath, [inProject('dist/src/cli/main.js'), ...args], { cwd: folder, encoding: 'utf8' });
  t.equal(turnkey('compare', 'a', 'a').status, 0);
  const worse = turnkey('compare', 'a', 'b');
  t.equal(worse.status, 5);
  t.match(worse.stdout, /B is worse than A\.\n$/);
  t.equal(turnkey('compare', 'b', 'a').status, 0);
  t.equal(turnkey('compare', 'b', 'a', '--any').status, 5);
  t.equal((JSON.parse(turnkey('compare', 'a', 'b', '--json').stdout) as { costs: unknown[] }).costs.length, 1);
  const missing = turnkey('compare', 'a', 'nowhere');
  t.equal(missing.status, 1);
  t.match(missing.stderr, /^turnkey: cannot read nowhere.*no such file/);
  t.equal(turnkey('compare', 'a', 'b', '--threshold', 'much').status, 2);
  t.equal(turnkey('export', 'a').status, 1);
  const exported = turnkey('export', '--csv', 'a');
  t.equal(exported.status, 0);
  const run = readRun(join(folder, 'a'));
  t.same(
    exported.stdout.trim().split('\n'),
    [...renderCsv(findings(run)).keys()].map((name) => join(folder, 'a', 'csv', name)),
  );
  t.match(
    readFileSync(join(folder, 'a', 'csv', 'corruption.csv'), 'utf8'),
    /^case,group,.*\r\nwild-write,stray writes,pkeys,/,
  );
  t.equal(turnkey('export', '--csv', 'a', '--out', 'elsewhere').status, 0);
  t.match(readFileSync(join(folder, 'elsewhere', 'costs.csv'), 'utf8'), /mprotect-range,native/);
  t.end();
});
