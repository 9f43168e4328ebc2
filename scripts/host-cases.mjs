// `node scripts/host-cases.mjs`: bad callouts of programs that know nothing of Turnkey, unguarded and under each
// mechanism of this machine's own lane. Each trial is a fresh process; a verdict needs the evidence that judge() names.
//   --host cpython,node  --case NAME,…  --mechanism none,flag,mprotect-range  --times 3
//   --json FILE     writes every trial with its evidence
// Exit code 1 if a verdict is not the expected one.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { fail, hostHasKeys, root, SetupError } from './setup.mjs';

/**
 * @typedef {{ code: string | null, space: string | null, address: number, errorName: string, signal: string }} Fault
 * @typedef {{ right: boolean, changed: number, object: { from: number, to: number }, neighbour: boolean,
 *   read: boolean, result: number | null, error: Fault | null }} Saw
 * @typedef {{ status: number | null, signal: string | null, stderr: string, saw: Saw | undefined,
 *   callouts: number | undefined }} Ended
 * @typedef {'unguarded' | 'trap' | 'closed'} Kind
 * @typedef {{ says: string, expected: Readonly<Record<Kind, string>> }} Case
 */

const CLI = join(root, 'dist', 'src', 'cli', 'main.js');
const PROGRAMS = join(root, 'test', 'data', 'host-cases');
const SECONDS = 60;

/** The hosts: the program that makes the callouts. @type {Readonly<Record<string, readonly string[]>>} */
const HOSTS = {
  cpython: ['/usr/bin/python3', join(PROGRAMS, 'callouts.py')],
  node: [process.execPath, '--expose-gc', join(PROGRAMS, 'callouts.mjs')],
};

const all = (/** @type {string} */ verdict) => ({ unguarded: verdict, trap: verdict, closed: verdict });
const silent = { unguarded: 'damaged', trap: 'damaged', closed: 'prevented' };
const byKernel = { unguarded: 'damaged', trap: 'damaged', closed: 'refused' };
const fatal = { unguarded: 'crashed', trap: 'trapped', closed: 'trapped' };

/** The object is one of the VM's own, in its heap; the callee has no business in it. @type {Record<string, Case>} */
const CASES = {
  control: { says: 'fills a buffer that was lent', expected: all('harmless') },
  'object-store': { says: 'stores into the middle of an object', expected: silent },
  'object-header': {
    says: "overwrites the word that says an object's type",
    expected: { unguarded: 'crashed', trap: 'crashed', closed: 'prevented' },
  },
  'string-copy': { says: 'copies a string through a wrong pointer', expected: silent },
  'out-parameter': { says: 'writes its out-parameter through a wrong pointer', expected: silent },
  uncompress: { says: 'has zlib unpack into an object', expected: silent },
  'qsort-callback': { says: 'sorts in an object, by callbacks into the VM', expected: silent },
  'kernel-read': { says: 'has the kernel read(2) into an object', expected: byKernel },
  'kernel-getrandom': { says: 'has the kernel put random bytes into an object', expected: byKernel },
  neighbour: { says: 'overruns the lent half of a buffer into the other half', expected: all('host-damaged') },
  'stray-read': { says: 'reads an object', expected: all('disclosed') },
  'null-pointer': { says: 'writes through a null pointer', expected: fatal },
  'code-store': { says: "stores into the C library's code", expected: fatal },
  abort: { says: 'calls abort', expected: fatal },
  'double-free': { says: 'frees a chunk of malloc twice', expected: fatal },
};

/** The kernel's word for a store that the mechanism denied. @type {Readonly<Record<string, string>>} */
const DENIED = { 'mprotect-range': 'SEGV_ACCERR', pkeys: 'SEGV_PKUERR' };

/** @param {string} mechanism @returns {Kind} */
const kindOf = (mechanism) => (mechanism === 'none' ? 'unguarded' : mechanism === 'flag' ? 'trap' : 'closed');

/** @param {string} host @param {string} name @param {string} mechanism @param {string} folder @returns {Ended} */
function run(host, name, mechanism, folder) {
  const command = [...(HOSTS[host] ?? []), name];
  const report = join(folder, 'report.json');
  rmSync(report, { force: true });
  const guarded = [process.execPath, CLI, 'guard', '--quiet', '--mechanism', mechanism, '--json', report, '--'];
  const [program = '', ...words] = mechanism === 'none' ? command : [...guarded, ...command];
  const { status, signal, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8', timeout: SECONDS * 1000 });
  /** @type {number | undefined} */
  let callouts;
  if (mechanism !== 'none') {
    /** @type {Record<'processes' | 'koffi', readonly { callouts: number }[]>} */
    const { processes, koffi } = JSON.parse(readFileSync(report, 'utf8'));
    callouts = [...processes, ...koffi].reduce((sum, each) => sum + each.callouts, 0);
  }
  const line = stdout.split('\n').find((each) => each.startsWith('{'));
  return { status, signal, stderr, saw: line === undefined ? undefined : JSON.parse(line), callouts };
}

/** @param {Ended} ended @param {string} mechanism @param {string} name */
function judge({ status, signal, stderr, saw, callouts }, mechanism, name) {
  if (signal === 'SIGTERM') return 'hung';
  // the guard's exit code for a program that a signal ended; any other code is this harness's own mistake
  if (signal !== null || (mechanism !== 'none' && (status ?? 0) > 128)) return 'crashed';
  if (status !== 0 || saw === undefined) throw new SetupError(`${name} (${mechanism}) ended with ${status}: ${stderr}`);
  // a guard that was passed over would look like none: a guarded program has had callouts
  if (mechanism !== 'none' && !callouts) throw new SetupError(`no callout of ${name} was guarded (${mechanism})`);
  const { right, changed, object, neighbour, read, result, error } = saw;
  if (changed > 0 || !right) return 'damaged';
  if (error !== null) {
    const inside = error.address >= object.from && error.address < object.to;
    if (error.space !== null && inside && error.code === DENIED[mechanism]) return 'prevented';
    if (error.space === null) return 'trapped';
    throw new SetupError(`${name} (${mechanism}) faulted in the heap in no way that a verdict names: ${stderr}`);
  }
  if (!neighbour) return 'host-damaged';
  if (read && name === 'stray-read') return 'disclosed';
  return result === -1 ? 'refused' : 'harmless';
}

/** @param {string | undefined} text @param {readonly string[]} known @param {readonly string[]} otherwise */
function chosen(text, known, otherwise) {
  const words = text?.split(',') ?? otherwise;
  const strange = words.find((word) => !known.includes(word));
  if (strange !== undefined) throw new SetupError(`'${strange}' is none of ${known.join(', ')}`);
  return words;
}

function main() {
  const text = /** @type {const} */ ({ type: 'string' });
  const { values } = parseArgs({ options: { host: text, case: text, mechanism: text, times: text, json: text } });
  const closing = hostHasKeys() ? ['mprotect-range', 'pkeys'] : ['mprotect-range'];
  const hosts = chosen(values.host, Object.keys(HOSTS), Object.keys(HOSTS));
  const names = chosen(values.case, Object.keys(CASES), Object.keys(CASES));
  const mechanisms = chosen(values.mechanism, ['none', 'flag', ...closing], ['none', 'flag', ...closing]);
  const times = Number(values.times ?? 3);
  if (!(Number.isInteger(times) && times > 0)) throw new SetupError('--times is a whole number from 1');
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-host-cases-'));
  const trials = [];
  try {
    for (const host of hosts)
      for (const name of names)
        for (const mechanism of mechanisms)
          for (let repetition = 0; repetition < times; repetition++) {
            const ended = run(host, name, mechanism, folder);
            const expected = CASES[name]?.expected[kindOf(mechanism)] ?? '';
            const verdict = judge(ended, mechanism, name);
            trials.push({ host, case: name, lane: 'native', mechanism, repetition, expected, verdict, ...ended });
            const surprise = verdict === expected ? '' : `, expected ${expected}`;
            process.stdout.write(
              `${host.padEnd(8)} ${name.padEnd(17)} ${mechanism.padEnd(15)} ${verdict}${surprise}\n`,
            );
          }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(trials, null, 1)}\n`);
  if (trials.some(({ verdict, expected }) => verdict !== expected)) process.exitCode = 1;
}

try {
  main();
} catch (error) {
  fail(error);
}
