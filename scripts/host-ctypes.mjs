// `node scripts/host-ctypes.mjs [--record]`: the compatibility score of CPython behind native/host. Runs CPython's own
// tests of ctypes (Debian: libpython3.11-testsuite) unguarded and under each mechanism, each in a lane that has it, and
// compares test by test. Exit code 1 if a result differs. --record writes results/reference-hosts/ctypes.json.

import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { cleanCommit, fail, root, runQuietly, SetupError } from './setup.mjs';

/**
 * @typedef {{ python: string, kernel: string, results: Readonly<Record<string, string>> }} Results
 * @typedef {Results & { callouts: number }} Outcome
 * @typedef {{ lane: 'native' | 'emulated', mechanism: string }} Run
 */

const PYTHON = '/usr/bin/python3';
const PRELOADED = join(root, 'build', 'host', 'libturnkey-host.so');
const SCRIPT = join(root, 'scripts', 'host-ctypes.py');
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

/** The command may fail. @param {string} command @param {readonly string[]} args */
const run = (command, args, env = {}) =>
  spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env }, maxBuffer: 1 << 26 });

/** What Python says, one line. @param {string} text */
const ask = (text) => runQuietly(PYTHON, ['-c', text]).trim();

/** The files that a guest lacks: the interpreter, its library, and what its modules link. */
function files() {
  const executable = ask('import os, sys; print(os.path.realpath(sys.executable))');
  const library = ask('import os; print(os.path.dirname(os.__file__))');
  const extension = ask('import _ctypes; print(_ctypes.__file__)');
  return { executable, taken: [executable, library, extension, SCRIPT, PRELOADED] };
}

/** @param {Run} run @returns {Outcome} */
function outcome({ lane, mechanism }) {
  const { executable, taken } = files();
  const guard = { LD_PRELOAD: PRELOADED, TURNKEY_HOST_MECHANISM: mechanism, TURNKEY_HOST_SUMMARY: '1' };
  const env = mechanism === 'none' ? {} : guard;
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const { stdout, stderr, status } =
    lane === 'native'
      ? run(executable, [SCRIPT], env)
      : run(process.execPath, [
          CLI,
          'emulated',
          ...taken.flatMap((path) => ['--with', path]),
          '--',
          '/bin/sh',
          '-c',
          [...words, 'exec', executable, SCRIPT].join(' '),
        ]);
  const line = /^RESULTS (.*)$/m.exec(stdout)?.[1];
  if (line === undefined)
    throw new SetupError(`the tests did not end (${lane}, ${mechanism}, exit code ${String(status)}):\n${stderr}`);
  /** @type {Results} */
  const results = JSON.parse(line);
  return { ...results, callouts: callouts(`${stdout}\n${stderr}`, { lane, mechanism }) };
}

/**
 * How many callouts the run's summary counts. The loader passes over a library that it cannot preload, and such a run
 * would differ in nothing: a guarded run must say its mechanism and have had callouts.
 * @param {string} text @param {Run} run
 */
function callouts(text, { lane, mechanism }) {
  const said = [...text.matchAll(/^turnkey: cpython, mechanism (\S+): (\d+) callouts/gm)].at(-1);
  const count = Number(said?.[2] ?? 0);
  if (mechanism === 'none' ? said !== undefined : said?.[1] !== mechanism || count === 0)
    throw new SetupError(`the run (${lane}, ${mechanism}) says it was guarded by ${said?.[0] ?? 'nothing'}`);
  return count;
}

/** @param {Outcome} plain @param {Outcome} guarded */
function differences({ results: plain }, { results: guarded }) {
  const names = [...new Set([...Object.keys(plain), ...Object.keys(guarded)])].sort();
  return names.flatMap((test) =>
    plain[test] === guarded[test]
      ? []
      : [{ test, unguarded: plain[test] ?? 'not run', guarded: guarded[test] ?? 'not run' }],
  );
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

function main() {
  const { record } = parseArgs({ options: { record: { type: 'boolean', default: false } } }).values;
  if (run(PYTHON, ['-c', 'import ctypes.test']).status !== 0)
    throw new SetupError(`${PYTHON} has no tests of ctypes: install libpython3.11-testsuite`);
  if (!existsSync(PRELOADED)) throw new SetupError(`${PRELOADED} is not built: run node scripts/setup.mjs`);
  const commit = record ? cleanCommit() : undefined;
  /** @type {Map<string, Outcome>} */
  const plain = new Map();
  const rows = RUNS.map((each) => {
    const now = outcome(each);
    if (each.mechanism === 'none') plain.set(each.lane, now);
    const before = plain.get(each.lane) ?? now;
    const row = {
      ...each,
      tests: Object.keys(now.results).length,
      callouts: now.callouts,
      counts: counts(now),
      differences: differences(before, now),
    };
    process.stdout.write(
      `${each.lane.padEnd(9)} ${each.mechanism.padEnd(15)} ${row.tests} tests, ${Object.entries(row.counts)
        .map(([word, count]) => `${count} ${word}`)
        .join(', ')}; ${row.differences.length} differ from unguarded\n`,
    );
    for (const { test, unguarded, guarded } of row.differences)
      process.stdout.write(`          ${test}: ${unguarded} unguarded, ${guarded} guarded\n`);
    return { ...row, kernel: now.kernel, python: now.python };
  });
  if (record) {
    const text = JSON.stringify({ schemaVersion: 1, tests: "CPython's tests of ctypes", commit, runs: rows }, null, 1);
    writeFileSync(join(root, 'results', 'reference-hosts', 'ctypes.json'), `${text}\n`);
  }
  if (rows.some(({ differences: { length } }) => length > 0)) process.exitCode = 1;
}

try {
  main();
} catch (error) {
  fail(error);
}
