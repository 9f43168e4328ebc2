// `node scripts/host-costs.mjs [--lane native|emulated] [--record]`: what guarding costs a host. A callout, the start
// of a program that does nothing, and its memory, unguarded and under each mechanism. Native times take turns between
// mechanisms. The emulated guest counts instructions in place of time. --record writes one lane's rows to
// results/reference-hosts/costs-LANE.json.

import { existsSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { cleanCommit, fail, root, runQuietly, SetupError } from './setup.mjs';

/**
 * @typedef {import('../src/hosts/hosts.js').Host} Host
 * @typedef {{ host: string, mechanism: string, callout: readonly number[], startMs?: readonly number[],
 *   peakKiB?: readonly number[] }} Row
 */

const PROGRAMS = join(root, 'experiments', 'hosts', 'costs');
const PYTHON = '/usr/bin/python3';
const NATIVE = { mechanisms: ['none', 'flag', 'mprotect-range'], rounds: 10, samples: 10, starts: 20 };
const COUNTED = { mechanisms: ['none', 'flag', 'pkeys'], samples: 5, callouts: 200 };
/** Callouts of a sample: under a millisecond or two, and many of the clock's steps. Squeak's counts milliseconds. */
const CALLOUTS = { node: 20_000, cpython: 10_000, ruby: 2000, squeak: 100_000 };
/** A callout under mprotect takes so much longer. */
const MPROTECT_SHARE = 20;

/** @param {string} command @param {readonly string[]} args @param {Readonly<Record<string, string>>} env */
const output = (command, args, env) => runQuietly(command, args, { env: { ...process.env, ...env } }).trim();

/** @param {string} path @returns {Promise<any>} */
const fromDist = (path) => import(pathToFileURL(join(root, 'dist', 'src', path)).href);
const { environmentOf, openHost } = await fromDist('hosts/hosts.js');

/** The hosts that this machine has. @returns {Host[]} */
function findHosts() {
  return Object.keys(CALLOUTS).flatMap((name) => {
    try {
      return [openHost(name, PROGRAMS)];
    } catch (error) {
      process.stdout.write(`${name} is left out: ${error instanceof Error ? error.message : String(error)}\n`);
      return [];
    }
  });
}

/** A program of the host's that does nothing. @param {Host} host @returns {readonly string[]} */
function nothing({ name, command }) {
  if (name === 'squeak') return [...command.slice(0, -1), join(PROGRAMS, 'empty.st')];
  return [command[0] ?? '', ...(name === 'cpython' ? ['-c', 'pass'] : ['-e', '0'])];
}

/**
 * CPU time (ms) and largest resident memory (KiB) of one start.
 * @param {readonly string[]} command @param {Readonly<Record<string, string>>} env
 */
function startOnce(command, env) {
  const text =
    'import json, os, resource, sys; pid = os.posix_spawn(sys.argv[1], sys.argv[1:], dict(os.environ, **json.loads(' +
    "os.environ['GUARD'])), file_actions=[(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)]); " +
    '_, status, used = os.wait4(pid, 0); ' +
    'print(json.dumps([status, 1000 * (used.ru_utime + used.ru_stime), used.ru_maxrss]))';
  const [status, ms, kiB] = JSON.parse(output(PYTHON, ['-c', text, ...command], { GUARD: JSON.stringify(env) }));
  if (status !== 0) throw new SetupError(`${command.join(' ')} ended with status ${String(status)}`);
  return { ms, kiB };
}

/** @param {readonly Host[]} hosts @returns {Row[]} */
function measureNative(hosts) {
  return hosts.flatMap((host) => {
    /** @type {Map<string, { callout: number[], startMs: number[], peakKiB: number[] }>} */
    const rows = new Map(NATIVE.mechanisms.map((name) => [name, { callout: [], startMs: [], peakKiB: [] }]));
    const [command = '', ...words] = host.command;
    for (let i = 0; i < NATIVE.rounds; i++)
      for (const [mechanism, row] of rows) {
        const callouts = CALLOUTS[host.name] / (mechanism === 'mprotect-range' ? MPROTECT_SHARE : 1);
        const numbers = [String(NATIVE.samples), String(callouts)];
        row.callout.push(...JSON.parse(output(command, [...words, ...numbers], environmentOf(host, mechanism))));
      }
    for (let i = 0; i < NATIVE.starts; i++)
      for (const [mechanism, row] of rows) {
        const { ms, kiB } = startOnce(nothing(host), environmentOf(host, mechanism));
        row.startMs.push(ms);
        row.peakKiB.push(kiB);
      }
    return [...rows].map(([mechanism, row]) => ({ host: host.name, mechanism, ...row }));
  });
}

/** @param {readonly Host[]} hosts */
async function countInstructions(hosts) {
  const { Machine } = await fromDist('machine/index.js');
  const machine = await Machine.boot({
    mode: 'counting',
    extraFiles: hosts.flatMap(({ files }) => files),
  });
  try {
    /** @type {Row[]} */
    const rows = [];
    // Squeak's clock is too coarse for so few callouts
    for (const host of hosts.filter(({ name }) => name !== 'squeak'))
      for (const mechanism of COUNTED.mechanisms) {
        const { exitCode, stdout, stderr } = await machine.run({
          command: [...host.command, String(COUNTED.samples), String(COUNTED.callouts)],
          cwd: root,
          env: environmentOf(host, mechanism),
          timeoutMs: 400_000,
        });
        if (exitCode !== 0) throw new SetupError(`${host.name} under ${mechanism}: ${String(exitCode)} ${stderr}`);
        rows.push({ host: host.name, mechanism, callout: JSON.parse(stdout.trim().split('\n').at(-1) ?? '') });
        process.stdout.write(`${host.name} ${mechanism} ${stdout}`);
      }
    return { rows, kernel: machine.info.kernel, cpu: machine.info.cpu };
  } finally {
    await machine.close();
  }
}

async function main() {
  const { lane, record } = parseArgs({
    options: { lane: { type: 'string', default: 'native' }, record: { type: 'boolean', default: false } },
  }).values;
  if (lane !== 'native' && lane !== 'emulated') throw new SetupError(`--lane is native or emulated, not '${lane}'`);
  if (!existsSync(PYTHON)) throw new SetupError(`there is no ${PYTHON}, which measures the starts`);
  const commit = record ? cleanCommit() : undefined;
  const hosts = findHosts();
  const { rows, kernel, cpu } =
    lane === 'native'
      ? { rows: measureNative(hosts), kernel: release(), cpu: cpus()[0]?.model ?? '' }
      : await countInstructions(hosts);
  const round = (/** @type {readonly number[]} */ numbers) => numbers.map((number) => Number(number.toFixed(1)));
  const rounded = rows.map(({ callout, startMs, peakKiB, ...row }) => ({
    ...row,
    callout: round(callout),
    ...(startMs === undefined || peakKiB === undefined ? {} : { startMs: round(startMs), peakKiB }),
  }));
  const versions = Object.fromEntries(hosts.map(({ name, version }) => [name, version]));
  const unit = lane === 'native' ? 'ns' : 'instructions';
  const text = JSON.stringify({
    schemaVersion: 1,
    lane,
    unit,
    commit,
    cpu,
    kernel,
    versions,
    rows: rounded,
  });
  if (record) writeFileSync(join(root, 'results', 'reference-hosts', `costs-${lane}.json`), `${text}\n`);
  for (const { host, mechanism, callout, startMs, peakKiB } of rounded)
    process.stdout.write(
      `${host.padEnd(8)} ${mechanism.padEnd(15)} ${Math.min(...callout)} ${unit} a callout` +
        (startMs === undefined ? '\n' : `, start ${Math.min(...startMs)} ms, ${Math.min(...(peakKiB ?? []))} KiB\n`),
    );
}

main().catch(fail);
