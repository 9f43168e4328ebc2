// koffi's own tests, run with the project's koffi; the last line that is printed has the result of each assertion as
// JSON. scripts/host-tests.mjs runs it unguarded and guarded: koffi.mjs FOLDER, that of the tests.
//
// The tests' files are as they were, with these changes to what they meet. An assertion is noted and does not end its
// file, so that those after it run too. libsqlite3 stands in for sqlite3mc, which koffi builds. `callback` is the
// project's `proto`. raylib's file is left out. An assertion is named by its file and line; `FILE ends` says whether
// the file came to its end.

import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { release, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {(...args: readonly unknown[]) => unknown} AnyFunction
 * @typedef {(request: string, parent: { filename?: string } | undefined, isMain: boolean) => unknown} Load
 */

const require = createRequire(import.meta.url);
const [folder = '', only] = process.argv.slice(2);
/** Opens windows. */
const LEFT_OUT = ['raylib.js'];

/** @type {Record<string, string>} */
const results = {};

/** The first failure stands. @param {string} name @param {string} result */
function note(name, result) {
  if ((results[name] ?? 'ok') === 'ok') results[name] = result;
}

const said = (/** @type {unknown} */ error) => (error instanceof Error ? error.message : String(error));
const print = (/** @type {string} */ line) => process.stdout.write(`${line}\n`);

/** The project's, under the names that koffi's functions had for the tests. */
function koffi() {
  const real = /** @type {Record<string, AnyFunction>} */ (require('koffi'));
  /** @type {AnyFunction} */
  const load = (path, ...rest) =>
    real.load?.(basename(String(path)) === 'sqlite3mc.so' ? 'libsqlite3.so.0' : path, ...rest);
  return { ...real, callback: real.proto, load };
}

/** node:assert, which notes what it finds. @param {string} file */
function noting(file) {
  const place = new RegExp(`${file}:\\d+`);
  /** @param {AnyFunction} assertion @returns {AnyFunction} */
  const notes =
    (assertion) =>
    (...args) => {
      const [at = file] = place.exec(new Error().stack ?? '') ?? [];
      try {
        assertion(...args);
        note(at, 'ok');
      } catch (error) {
        note(at, `failed: ${said(error)}`);
      }
    };
  const named = /** @type {Record<string, AnyFunction>} */ (/** @type {unknown} */ (assert));
  return new Proxy(notes(/** @type {AnyFunction} */ (/** @type {unknown} */ (assert))), {
    get: (_, name) => notes(/** @type {AnyFunction} */ (named[String(name)])),
  });
}

/** @param {string} file */
function runOne(file) {
  const modules = /** @type {{ _load: Load }} */ (/** @type {unknown} */ (Module));
  const load = modules._load;
  const given = new Map([
    ['./build/koffi.node', /** @type {unknown} */ (koffi())],
    ['assert', noting(file)],
  ]);
  modules._load = (request, parent, isMain) =>
    parent?.filename === join(folder, file) && given.has(request)
      ? given.get(request)
      : load.call(Module, request, parent, isMain);
  // what a file does at its end
  console.log = () => {
    note(`${file} ends`, 'ok');
  };
  console.error = (/** @type {unknown} */ error) => {
    note(`${file} ends`, `error: ${said(error)}`);
  };
  process.on('exit', () => {
    if (results[`${file} ends`] === undefined) note(`${file} ends`, 'error: it did not end');
    print(`ONE ${JSON.stringify(results)}`);
  });
  require(join(folder, file));
}

/** What the guards of all threads told. @param {string} path @returns {{ mechanism: string, callouts: number }[]} */
function guards(path) {
  let lines;
  try {
    lines = readFileSync(path, 'utf8').trim().split('\n');
  } catch {
    return []; // nobody was guarded
  }
  return lines
    .map((line) => /** @type {{ kind?: string, mechanism: string, callouts: number }} */ (JSON.parse(line)))
    .filter(({ kind }) => kind === 'koffi');
}

/** Each file in a process of its own: they give types the same names. */
function runAll() {
  const scratch = mkdtempSync(join(tmpdir(), 'turnkey-koffi-'));
  /** @type {{ mechanism: string, callouts: number }[]} */
  const all = [];
  /** @type {string[]} */
  const unguarded = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.js') && !LEFT_OUT.includes(name))) {
    const words = ['--no-deprecation', fileURLToPath(import.meta.url), folder, file];
    const told = join(scratch, file);
    const env = { ...process.env, TURNKEY_HOST_JSON: told };
    const { stdout, stderr, status, signal } = spawnSync(process.execPath, words, { encoding: 'utf8', env });
    process.stderr.write(stderr);
    const line = /^ONE (.*)$/m.exec(stdout)?.[1];
    if (line === undefined) results[`${file} ends`] = `error: it ended by ${String(signal ?? status)}`;
    else Object.assign(results, JSON.parse(line));
    const own = guards(told);
    all.push(...own);
    if (own.length === 0) unguarded.push(file);
  }
  rmSync(scratch, { recursive: true });
  const callouts = all.reduce((sum, each) => sum + each.callouts, 0);
  const mechanisms = new Set(all.map(({ mechanism }) => mechanism));
  if (mechanisms.size > 1 || (mechanisms.size === 1 && unguarded.length > 0))
    throw new Error(`mechanisms ${[...mechanisms].join(', ')}; not guarded: ${unguarded.join(', ')}`);
  if (all[0] !== undefined) print(`turnkey: koffi, mechanism ${all[0].mechanism}: ${callouts} callouts`);
  const { version } = /** @type {{ version: string }} */ (require('koffi'));
  print(`RESULTS ${JSON.stringify({ version, kernel: release(), results })}`);
}

if (only === undefined) runAll();
else runOne(only);
