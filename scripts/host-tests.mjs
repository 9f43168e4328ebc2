// `node scripts/host-tests.mjs [--suite ctypes|fiddle|koffi] [--lane native|emulated] [--record]`: the compatibility
// scores of guarded programs. Runs the tests that CPython has of ctypes, Ruby of Fiddle, and koffi of itself. Each runs
// unguarded and under each mechanism, in a lane that has it, and is compared test by test. Others' tests are fetched
// into the cache folder (host-tests/fetch.mjs). Exit code 1 if a result differs and nothing here says why. --record
// writes results/reference-hosts/SUITE.json, and keeps the other lane's runs.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { fiddleTests, KOFFI, koffiTests } from './host-tests/fetch.mjs';
import { cleanCommit, fail, root, runQuietly, SetupError } from './setup.mjs';

/**
 * @typedef {{ version: string, kernel: string, results: Readonly<Record<string, string>> }} Results
 * @typedef {Results & { callouts: number }} Outcome
 * @typedef {{ lane: 'native' | 'emulated', mechanism: string, commit?: string | undefined }} Run
 * @typedef {{ test: string, unguarded: string, guarded: string, because?: string }} Difference
 * @typedef {object} Suite
 * @property {string} title
 * @property {string} adapter who says how many callouts there were
 * @property {boolean} isNode
 * @property {readonly string[]} command
 * @property {readonly string[]} files what a guest lacks
 * @property {Readonly<Record<string, string>>} stores by test: the store that should not be, which a mechanism prevents
 * @property {Readonly<Record<string, string>>} [timed] by test: what it measures by the clock, which a busy machine
 *   changes, guarded or not
 */

const PYTHON = '/usr/bin/python3';
const RUBY = '/usr/bin/ruby';
const FOLDER = join(root, 'scripts', 'host-tests');
const CLI = join(root, 'dist', 'src', 'cli', 'main.js');
/** @type {readonly Run[]} */
const RUNS = [
  { lane: 'native', mechanism: 'none' },
  { lane: 'native', mechanism: 'flag' },
  { lane: 'native', mechanism: 'mprotect-range' },
  { lane: 'emulated', mechanism: 'none' },
  { lane: 'emulated', mechanism: 'flag' },
  { lane: 'emulated', mechanism: 'pkeys' },
];
const order = (/** @type {Run} */ { lane, mechanism }) =>
  RUNS.findIndex((each) => each.lane === lane && each.mechanism === mechanism);
/** Mechanisms that close the heap. */
const CLOSING = ['mprotect-range', 'pkeys'];
/** How a test ends in which a closing mechanism has prevented a store. */
const PREVENTED = /CalloutError: .* write 0x[0-9a-f]+ in the heap's space/;

const fromDist = (/** @type {string} */ path) => import(pathToFileURL(join(root, 'dist', 'src', path)).href);
const { guardedEnvironment } = await fromDist('guard/library.js');

/** The command may fail. @param {string} command @param {readonly string[]} args */
const run = (command, args, env = {}) =>
  spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env }, maxBuffer: 1 << 26 });

/** What a program says, line by line. @param {string} program @param {string} text */
const ask = (program, text) =>
  runQuietly(program, [program === PYTHON ? '-c' : '-e', text])
    .trim()
    .split('\n');

/** @returns {Suite} */
function ctypes() {
  if (run(PYTHON, ['-c', 'import ctypes.test']).status !== 0)
    throw new SetupError(`${PYTHON} has no tests of ctypes: install libpython3.11-testsuite`);
  const [executable = '', ...taken] = ask(
    PYTHON,
    'import os, sys, _ctypes; print(os.path.realpath(sys.executable)); print(os.path.dirname(os.__file__));' +
      'print(_ctypes.__file__)',
  );
  const script = join(FOLDER, 'ctypes.py');
  return {
    title: "CPython's tests of ctypes",
    adapter: 'cpython',
    isNode: false,
    command: [executable, script],
    files: [executable, ...taken, script],
    stores: {},
  };
}

/** @returns {Suite} */
function fiddle() {
  const sources = fiddleTests();
  const script = join(FOLDER, 'fiddle.rb');
  const folders = ask(RUBY, 'puts $LOAD_PATH').filter((path) => existsSync(path));
  return {
    title: "Ruby's tests of Fiddle",
    adapter: 'ruby',
    isNode: false,
    command: [RUBY, script, sources],
    files: [RUBY, ...folders, script, sources],
    stores: { 'Fiddle::TestFunc#test_qsort1': 'qsort sorts a frozen string, a literal, in its place' },
    timed: { 'Fiddle::TestFunction#test_nogvl_poll': 'it compares how long poll(2) and a thread sleep by the clock' },
  };
}

/** @returns {Suite} */
function koffi() {
  const tests = koffiTests();
  const script = join(FOLDER, 'koffi.mjs');
  return {
    title: `koffi's own tests, of its version ${KOFFI}`,
    adapter: 'koffi',
    isNode: true,
    command: [process.execPath, script, tests],
    files: [process.execPath, script, tests, 'libsqlite3.so.0'],
    stores: {},
  };
}

const SUITES = { ctypes, fiddle, koffi };

/** @param {Suite} suite @param {Run} run @returns {Outcome} */
function outcome({ adapter, isNode, command: [program = '', ...words], files }, { lane, mechanism }) {
  /** @type {Record<string, string>} */
  const env = mechanism === 'none' ? {} : { ...guardedEnvironment(mechanism, { isNode }), TURNKEY_HOST_SUMMARY: '1' };
  const set = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
  const { LD_PRELOAD: library } = env;
  const taken = library === undefined ? files : [...files, library];
  const { stdout, stderr, status } =
    lane === 'native'
      ? run(program, words, env)
      : run(process.execPath, [
          CLI,
          'emulated',
          ...taken.flatMap((path) => ['--with', path]),
          '--',
          '/bin/sh',
          '-c',
          ['LANG=C.UTF-8', ...set, 'exec', program, ...words].join(' '),
        ]);
  const line = /^RESULTS (.*)$/m.exec(stdout)?.[1];
  if (line === undefined)
    throw new SetupError(`the tests did not end (${lane}, ${mechanism}, exit code ${String(status)}):\n${stderr}`);
  /** @type {Results} */
  const results = JSON.parse(line);
  return { ...results, callouts: callouts(adapter, `${stdout}\n${stderr}`, { lane, mechanism }) };
}

/**
 * How many callouts the run's summary counts. The loader passes over a library that it cannot preload, and such a run
 * would differ in nothing. Therefore a guarded run must say its mechanism and have had callouts.
 * @param {string} adapter @param {string} text @param {Run} run
 */
function callouts(adapter, text, { lane, mechanism }) {
  const lines = [...text.matchAll(/^turnkey: (\w+), mechanism (\S+): (\d+) callouts/gm)];
  const said = lines.filter((line) => line[1] === adapter).at(-1);
  const count = Number(said?.[3] ?? 0);
  if (mechanism === 'none' ? said !== undefined : said?.[2] !== mechanism || count === 0)
    throw new SetupError(`the run (${lane}, ${mechanism}) says it was guarded by ${said?.[0] ?? 'nothing'}`);
  return count;
}

/**
 * Each with `because`, where it is a store that should not be, or a measurement by the clock.
 * @param {Suite} suite @param {string} mechanism @param {Outcome} plain @param {Outcome} guarded
 * @returns {Difference[]}
 */
function differences({ stores, timed = {} }, mechanism, { results: plain }, { results: guarded }) {
  const names = [...new Set([...Object.keys(plain), ...Object.keys(guarded)])].sort();
  return names.flatMap((test) => {
    if (plain[test] === guarded[test]) return [];
    const ran = plain[test] !== undefined && guarded[test] !== undefined;
    const stopped = CLOSING.includes(mechanism) && PREVENTED.test(guarded[test] ?? '');
    const because = (ran ? timed[test] : undefined) ?? (stopped ? stores[test] : undefined);
    const both = { test, unguarded: plain[test] ?? 'not run', guarded: guarded[test] ?? 'not run' };
    return [because === undefined ? both : { ...both, because }];
  });
}

/** How many tests had which result. @param {Outcome} outcome */
function counts({ results }) {
  /** @type {Record<string, number>} */
  const sums = {};
  for (const result of Object.values(results)) {
    const [word = ''] = result.split(':');
    sums[word] = (sums[word] ?? 0) + 1;
  }
  return sums;
}

/**
 * @param {keyof typeof SUITES} name @param {string | undefined} lane undefined: both
 * @param {string | undefined} commit of the record; undefined: none
 */
function score(name, lane, commit) {
  const suite = SUITES[name]();
  /** @type {Map<string, Outcome>} */
  const plain = new Map();
  const rows = RUNS.filter((each) => lane === undefined || each.lane === lane).map((each) => {
    const now = outcome(suite, each);
    if (each.mechanism === 'none') plain.set(each.lane, now);
    const before = plain.get(each.lane) ?? now;
    const row = {
      ...each,
      tests: Object.keys(now.results).length,
      callouts: now.callouts,
      counts: counts(now),
      differences: differences(suite, each.mechanism, before, now),
    };
    process.stdout.write(
      `${name} ${each.lane.padEnd(9)} ${each.mechanism.padEnd(15)} ${row.tests} tests, ${Object.entries(row.counts)
        .map(([word, count]) => `${count} ${word}`)
        .join(', ')}; ${row.differences.length} differ from unguarded\n`,
    );
    for (const { test, unguarded, guarded, because } of row.differences)
      process.stdout.write(`    ${test}: ${unguarded} unguarded, ${guarded} guarded: ${because ?? 'not explained'}\n`);
    return { ...row, kernel: now.kernel, version: now.version };
  });
  if (commit !== undefined) {
    const path = join(root, 'results', 'reference-hosts', `${name}.json`);
    /** @type {{ commit?: string, runs: Run[] }} */
    const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { runs: [] };
    const kept = before.runs
      .filter((old) => rows.every((row) => row.lane !== old.lane))
      .map((old) => ({ ...old, commit: old.commit ?? before.commit }));
    const runs = [...kept, ...rows.map((row) => ({ ...row, commit }))].sort((a, b) => order(a) - order(b));
    writeFileSync(path, `${JSON.stringify({ schemaVersion: 1, tests: suite.title, commit, runs }, null, 1)}\n`);
  }
  if (rows.some((row) => row.differences.some(({ because }) => because === undefined))) process.exitCode = 1;
}

function main() {
  const { record, suite, lane } = parseArgs({
    options: {
      record: { type: 'boolean', default: false },
      suite: { type: 'string' },
      lane: { type: 'string' },
    },
  }).values;
  if (lane !== undefined && RUNS.every((each) => each.lane !== lane))
    throw new SetupError(`--lane is native or emulated, not '${lane}'`);
  const names = /** @type {(keyof typeof SUITES)[]} */ (Object.keys(SUITES));
  const chosen = names.filter((name) => suite === undefined || name === suite);
  if (chosen.length === 0) throw new SetupError(`--suite is one of ${names.join(', ')}, not '${String(suite)}'`);
  const commit = record ? cleanCommit() : undefined;
  for (const name of chosen) score(name, lane, commit);
}

try {
  main();
} catch (error) {
  fail(error);
}
