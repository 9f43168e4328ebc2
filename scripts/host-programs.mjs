// `node scripts/host-programs.mjs [--lane native|emulated] [--host NAME] [--record]`: what guarding costs whole
// programs with a real library (experiments/hosts/whole). They make about 100, 10,000 and 1,000,000 callouts a second
// of the unguarded program's CPU time. Native rows are CPU time. Each round runs every mechanism once, and ratios are
// within a round. The emulated guest counts instructions in place of time. --record writes
// results/reference-hosts/programs-LANE.json, and keeps its rows of other hosts.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { cleanCommit, fail, root, runQuietly, SetupError } from './setup.mjs';

/**
 * @typedef {import('../src/hosts/hosts.js').Host} Host
 * @typedef {{ cpuNs: number, answer: readonly number[] }} Ended
 * @typedef {{ host: string, program: string, wantedRate: number, units: number }} Cell
 * @typedef {Cell & { mechanism: string, callouts: number, perCallout: number[] }} Row
 */

const PROGRAMS = join(root, 'experiments', 'hosts', 'whole');
const HOSTS = /** @type {const} */ (['node', 'cpython', 'ruby', 'squeak']);
const LIBRARIES = ['zlib', 'sqlite'];
const RATES = [1e2, 1e4, 1e6];
const NATIVE = { mechanisms: ['none', 'flag', 'mprotect-range'], rounds: 3, cpuNs: 2e8 };
/** What a guest counts: the lowest rate would take an hour of its time. Counts of the rounds differ little. */
const COUNTED = { mechanisms: ['none', 'flag', 'pkeys'], rounds: 2, callouts: { 1e4: 200, 1e6: 2000 } };
/**
 * A callout under mprotect takes so much longer: no more of them in a run. The unguarded program then makes as few once
 * a round too, so that answers and ratios compare the same work.
 */
const MPROTECT_CALLOUTS = 200;
const QUARTET = 4; // a row of SQLite's takes four callouts
/** Ratios of the rounds that lie further apart than this, of their median, are called noisy. */
const NOISY = 0.1;

const fromDist = (/** @type {string} */ path) => import(pathToFileURL(join(root, 'dist', 'src', path)).href);
const { environmentOf, openHost } = await fromDist('hosts/hosts.js');
const { median } = await fromDist('record/statistics.js');

/**
 * Refuses an answer that another run of the same work did not give.
 * @param {Map<number, string>} answers by the number of callouts
 * @param {Row} row @param {readonly number[]} answer
 */
function compareAnswer(answers, { host, program, mechanism, callouts }, answer) {
  const said = JSON.stringify(answer);
  if ((answers.get(callouts) ?? said) !== said)
    throw new SetupError(`${host}, ${program}: another answer under ${mechanism}`);
  answers.set(callouts, said);
}

/**
 * @param {Host} host @param {string} mechanism
 * @param {string} program @param {number} callouts @param {number} units
 */
const runHere = (host, mechanism, program, callouts, units) => {
  const [command = '', ...words] = host.command;
  const env = { ...process.env, ...environmentOf(host, mechanism) };
  return /** @type {Ended} */ (
    JSON.parse(runQuietly(command, [...words, program, String(callouts), String(units)], { env }))
  );
};

/** How many units of own work make each rate. @param {Host} host @returns {Cell[]} */
function cellsOf(host) {
  return LIBRARIES.flatMap((program) => {
    const [many, few] = [20_000, 2000];
    const callNs = runHere(host, 'none', program, many, 0).cpuNs / many;
    const unitNs = (runHere(host, 'none', program, few, 100).cpuNs / few - callNs) / 100;
    return RATES.map((wantedRate) => ({
      host: host.name,
      program,
      wantedRate,
      units: Math.max(0, Math.round((1e9 / wantedRate - callNs) / unitNs)),
    }));
  });
}

/** @param {readonly { host: Host, cell: Cell }[]} cells @returns {Row[]} */
function measureNative(cells) {
  /** @type {Row[]} */
  const rows = [];
  for (const { host, cell } of cells) {
    const most = Math.max(8, Math.round((cell.wantedRate * NATIVE.cpuNs) / 1e9 / QUARTET) * QUARTET);
    const few = Math.min(most, MPROTECT_CALLOUTS);
    /** @type {(mechanism: string, callouts: number) => Row} */
    const row = (mechanism, callouts) => ({ ...cell, mechanism, callouts, perCallout: [] });
    const own = [
      ...NATIVE.mechanisms.map((mechanism) => row(mechanism, mechanism === 'mprotect-range' ? few : most)),
      ...(few < most ? [row('none', few)] : []),
    ];
    /** @type {Map<number, string>} */
    const answers = new Map();
    for (let round = 0; round < NATIVE.rounds; round++)
      for (const each of own) {
        const { cpuNs, answer } = runHere(host, each.mechanism, cell.program, each.callouts, cell.units);
        compareAnswer(answers, each, answer);
        each.perCallout.push(Math.round(cpuNs / each.callouts));
      }
    rows.push(...own);
    say(own);
  }
  return rows;
}

/** @param {readonly { host: Host, cell: Cell }[]} cells */
async function countInstructions(cells) {
  const { Machine } = await fromDist('machine/index.js');
  const machine = await Machine.boot({ mode: 'counting', extraFiles: cells.flatMap(({ host }) => host.files) });
  try {
    /** @type {Row[]} */
    const rows = [];
    for (const { host, cell } of cells) {
      const callouts = /** @type {Record<number, number>} */ (COUNTED.callouts)[cell.wantedRate];
      if (callouts === undefined) continue;
      /** @type {Row[]} */
      const own = COUNTED.mechanisms.map((mechanism) => ({ ...cell, mechanism, callouts, perCallout: [] }));
      /** @type {Map<number, string>} */
      const answers = new Map();
      for (let round = 0; round < COUNTED.rounds; round++)
        for (const each of own) {
          const { mechanism, perCallout } = each;
          const { exitCode, stdout, stderr } = await machine.run({
            command: [...host.command, cell.program, String(callouts), String(cell.units)],
            cwd: root,
            env: environmentOf(host, mechanism),
            timeoutMs: 400_000,
          });
          if (exitCode !== 0) throw new SetupError(`${cell.host} under ${mechanism}: ${String(exitCode)} ${stderr}`);
          const { cpuNs, answer } = /** @type {Ended} */ (JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
          compareAnswer(answers, each, answer);
          perCallout.push(Math.round(cpuNs / callouts));
        }
      rows.push(...own);
      say(own);
    }
    return { rows, kernel: machine.info.kernel, cpu: machine.info.cpu };
  } finally {
    await machine.close();
  }
}

/** Rounds' ratios to the unguarded program of as many callouts. @param {readonly Row[]} own a cell's rows */
function say(own) {
  for (const { host, program, wantedRate, mechanism, callouts, perCallout } of own) {
    const none = own.find((row) => row.mechanism === 'none' && row.callouts === callouts)?.perCallout;
    const ratios = perCallout.map((each, i) => each / (none?.[i] ?? NaN));
    const [low, middle, high] = [Math.min(...ratios), median(ratios), Math.max(...ratios)];
    const noisy = (high - low) / middle > NOISY ? ' noisy' : '';
    const [figure, from, to] = [middle, low, high].map((ratio) => ratio.toFixed(2));
    process.stdout.write(
      `${host.padEnd(8)} ${program.padEnd(7)} ${String(wantedRate).padEnd(8)} ${mechanism.padEnd(15)} ` +
        `${median(perCallout)} a callout of ${callouts}, ${figure} times (${from} to ${to})${noisy}\n`,
    );
  }
}

async function main() {
  const {
    lane,
    host: only,
    record,
  } = parseArgs({
    options: {
      lane: { type: 'string', default: 'native' },
      host: { type: 'string' },
      record: { type: 'boolean', default: false },
    },
  }).values;
  if (lane !== 'native' && lane !== 'emulated') throw new SetupError(`--lane is native or emulated, not '${lane}'`);
  if (only !== undefined && !HOSTS.some((name) => name === only))
    throw new SetupError(`--host is one of ${HOSTS.join(', ')}, not '${only}'`);
  const commit = record ? cleanCommit() : undefined;
  const hosts = HOSTS.filter((name) => only === undefined || only === name).flatMap((name) => {
    try {
      return [/** @type {Host} */ (openHost(name, PROGRAMS))];
    } catch (error) {
      process.stdout.write(`${name} is left out: ${error instanceof Error ? error.message : String(error)}\n`);
      return [];
    }
  });
  const cells = hosts.flatMap((host) => cellsOf(host).map((cell) => ({ host, cell })));
  const { rows, kernel, cpu } =
    lane === 'native'
      ? { rows: measureNative(cells), kernel: release(), cpu: cpus()[0]?.model ?? '' }
      : await countInstructions(cells);
  const unit = lane === 'native' ? 'ns of CPU time' : 'instructions';
  if (!record) return;
  const path = join(root, 'results', 'reference-hosts', `programs-${lane}.json`);
  /** @type {{ host: string }[]} */
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).runs : [];
  const runs = hosts.map(({ name, version }) => ({
    host: name,
    version,
    commit,
    cpu,
    kernel,
    rows: rows.filter(({ host }) => host === name),
  }));
  const kept = before.filter(({ host }) => runs.every((run) => run.host !== host));
  writeFileSync(path, `${JSON.stringify({ schemaVersion: 1, lane, unit, runs: [...kept, ...runs] })}\n`);
}

main().catch(fail);
