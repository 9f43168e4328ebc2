// `node scripts/host-costs.mjs [--lane native|emulated] [--record]`: what guarding costs a host. A callout, the start
// of a program that does nothing, and its memory, unguarded and under each mechanism. Native times take turns between
// mechanisms. The emulated guest counts instructions in place of time. --record writes one lane's rows to
// results/reference-hosts/costs-LANE.json.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { fail, root, SetupError } from './setup.mjs';

/**
 * @typedef {{
 *   name: string, version: string, command: readonly string[], start: readonly string[], files: readonly string[],
 *   callouts: number, always?: boolean,
 * }} Host
 * @typedef {{ host: string, mechanism: string, callout: readonly number[], startMs?: readonly number[],
 *   peakKiB?: readonly number[] }} Row
 */

const PRELOADED = join(root, 'build', 'host', 'libturnkey-host.so');
const REGISTER = join(root, 'dist', 'src', 'register', 'preload.cjs');
const PROGRAMS = join(root, 'test', 'data', 'host-costs');
const NATIVE = { mechanisms: ['none', 'flag', 'mprotect-range'], rounds: 10, samples: 10, starts: 20 };
const COUNTED = { mechanisms: ['none', 'flag', 'pkeys'], samples: 5, callouts: 200 };

/** @param {string} command @param {readonly string[]} args @param {Readonly<Record<string, string>>} env */
function output(command, args, env = {}) {
  const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } });
  if (status !== 0) throw new SetupError(`${command} ${args.join(' ')} ended with ${String(status)}: ${stderr}`);
  return stdout.trim();
}

/** @param {string} path */
const fromDist = (path) => import(pathToFileURL(join(root, 'dist', 'src', path)).href);

/**
 * The hosts that this machine has.
 * @param {string} folder for what is made of Squeak's image
 * @returns {Promise<Host[]>}
 */
async function findHosts(folder) {
  const program = (/** @type {string} */ name) => join(PROGRAMS, name);
  /** @type {Host[]} */
  const hosts = [
    {
      name: 'node',
      version: process.versions.node,
      command: [process.execPath, program('callouts.mjs')],
      start: [process.execPath, '-e', '0'],
      files: [],
      callouts: 20_000,
    },
  ];
  const [python, ruby] = ['/usr/bin/python3', '/usr/bin/ruby'].map((path) => (existsSync(path) ? path : ''));
  if (python !== undefined && python !== '') {
    const library = output(python, ['-c', 'import os, _ctypes; print(os.path.dirname(os.__file__), _ctypes.__file__)']);
    hosts.push({
      name: 'cpython',
      version: output(python, ['-c', 'import platform; print(platform.python_version())']),
      command: [realpathSync(python), program('callouts.py')],
      start: [realpathSync(python), '-c', 'pass'],
      files: library.split(' '),
      callouts: 10_000,
    });
  }
  if (ruby !== undefined && ruby !== '')
    hosts.push({
      name: 'ruby',
      version: output(ruby, ['-e', 'puts RUBY_VERSION']),
      command: [realpathSync(ruby), program('callouts.rb')],
      start: [realpathSync(ruby), '-e', '0'],
      files: output(ruby, ['-e', 'puts $LOAD_PATH.select { |path| File.directory? path }, Gem.path'])
        .split('\n')
        .filter((path) => existsSync(path)),
      callouts: 2000,
    });
  const squeak = await findSqueak(folder, program('callouts.st'));
  return squeak === undefined ? hosts : [...hosts, squeak];
}

/** @param {string} folder @param {string} script @returns {Promise<Host | undefined>} */
async function findSqueak(folder, script) {
  const { findSqueak: find, prepareImage, scriptCommand, scriptFiles } = await fromDist('squeak/vm.js');
  try {
    const squeak = find();
    const prepared = prepareImage(squeak, folder);
    const empty = join(folder, 'empty.st');
    writeFileSync(empty, "Turnkey print: '0'");
    return {
      name: 'squeak',
      version: '4.10.2',
      command: scriptCommand(squeak, prepared, script),
      start: scriptCommand(squeak, prepared, empty),
      files: scriptFiles(squeak, prepared, script),
      callouts: 100_000, // its clock counts milliseconds
      always: true, // without the library it makes no callout
    };
  } catch (error) {
    process.stdout.write(`squeak is left out: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}

/** What guards a host. @param {Host} host @param {string} mechanism @returns {Readonly<Record<string, string>>} */
function guard(host, mechanism) {
  if (mechanism === 'none' && host.always !== true) return {};
  const options = host.name === 'node' ? { NODE_OPTIONS: `--require ${REGISTER}` } : {};
  return { LD_PRELOAD: PRELOADED, TURNKEY_HOST_MECHANISM: mechanism, ...options };
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
  const [status, ms, kiB] = JSON.parse(
    output('/usr/bin/python3', ['-c', text, ...command], { GUARD: JSON.stringify(env) }),
  );
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
        const callouts = mechanism === 'mprotect-range' ? host.callouts / 20 : host.callouts;
        const numbers = [String(NATIVE.samples), String(callouts)];
        row.callout.push(...JSON.parse(output(command, [...words, ...numbers], guard(host, mechanism))));
      }
    for (let i = 0; i < NATIVE.starts; i++)
      for (const [mechanism, row] of rows) {
        const { ms, kiB } = startOnce(host.start, guard(host, mechanism));
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
    extraFiles: [PRELOADED, PROGRAMS, ...hosts.flatMap(({ command, files }) => [...command.slice(0, 1), ...files])],
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
          env: guard(host, mechanism),
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
  if (!existsSync(PRELOADED)) throw new SetupError(`${PRELOADED} is not built: run node scripts/setup.mjs`);
  const git = (/** @type {string[]} */ ...args) => output('git', ['-C', root, ...args]);
  if (record && git('status', '--porcelain') !== '') throw new SetupError('costs are recorded from a clean tree only');
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-host-costs-'));
  try {
    const hosts = await findHosts(folder);
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
      commit: git('rev-parse', 'HEAD'),
      cpu,
      kernel,
      versions,
      rows: rounded,
    });
    if (record) {
      const results = join(root, 'results', 'reference-hosts');
      mkdirSync(results, { recursive: true });
      writeFileSync(join(results, `costs-${lane}.json`), `${text}\n`);
    }
    for (const { host, mechanism, callout, startMs, peakKiB } of rounded)
      process.stdout.write(
        `${host.padEnd(8)} ${mechanism.padEnd(15)} ${Math.min(...callout)} ${unit} a callout` +
          (startMs === undefined ? '\n' : `, start ${Math.min(...startMs)} ms, ${Math.min(...(peakKiB ?? []))} KiB\n`),
      );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

main().catch(fail);
