// `npm start`: sets up what is missing, builds what has changed, shows two programs that know nothing of Turnkey behind
// `turnkey guard`, makes a small campaign, and runs the experiments. Arguments go on to `turnkey run`, and leave all
// else out; with `--lane wine`, what that lane needs is set up and cross-compiled.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import {
  buildCross,
  buildNative,
  buildTypeScript,
  CROSS_LANES,
  emulatedWanted,
  ensurePrerequisites,
  fail,
  root,
  setUp,
} from './setup.mjs';

/** 15 a stratum: about 1,000 trials, which take 5 to 10 s. */
const CAMPAIGN_FAULTS = 330;

const words = process.argv.slice(2);
const lane = /** @type {import('./setup.mjs').CrossLane[]} */ (Object.keys(CROSS_LANES)).find((name) =>
  words.join(' ').includes(`--lane ${name}`),
);
try {
  if (lane === undefined) setUp();
  else {
    ensurePrerequisites();
    ensurePrerequisites({ lane });
    buildNative();
    buildTypeScript();
    buildCross(lane);
  }
} catch (error) {
  fail(error);
}

/** What ends all of this, not only the part that runs. */
const ENDING = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
/** @type {NodeJS.Signals | undefined} */
let ended;
/** @type {import('node:child_process').ChildProcess | undefined} */
let part;
for (const name of ENDING)
  process.on(name, () => {
    ended ??= name;
    // Ctrl-C reaches the part too, which says goodbye
    if (name !== 'SIGINT') part?.kill(name);
  });

/** Thrown where a signal has ended a part. */
class Ended extends Error {}

/**
 * Runs a command of Turnkey's. Returns its exit code.
 * @param {string[]} args
 * @returns {Promise<number>}
 */
async function turnkey(...args) {
  part = spawn(process.execPath, [join(root, 'dist', 'src', 'cli', 'main.js'), ...args], { stdio: 'inherit' });
  /** @type {[number | null, NodeJS.Signals | null]} */
  const [status, signal] = /** @type {any} */ (await once(part, 'exit'));
  if (signal !== null && ENDING.some((name) => name === signal)) ended ??= signal;
  if (ended !== undefined) throw new Ended();
  return status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

/** What `npm start` shows without words. Returns the exit code. */
async function showAll() {
  const { runName } = await import(pathToFileURL(join(root, 'dist', 'src', 'cli', 'options.js')).href);
  const out = join('results', runName());
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-start-'));
  try {
    // first: the run ends by naming its report, which tells of them
    const guarded = await showHosts(folder);
    const campaign = await showCampaign(join(out, 'campaign'));
    const run = await turnkey('run', '--out', out, ...guarded.flatMap((file) => ['--guarded', file]));
    // the report is written and named all the same
    if (campaign !== 0) process.stderr.write(`turnkey: the campaign failed (exit code ${campaign})\n`);
    return run === 0 ? campaign : run;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = words.length === 0 ? await showAll() : await turnkey('run', ...words);
} catch (error) {
  if (!(error instanceof Ended) || ended === undefined) fail(error);
  process.exitCode = 128 + constants.signals[ended];
}

/** A few hundred random stores, here: the guest makes too few a second for a first look. */
async function showCampaign(/** @type {string} */ out) {
  const flags = ['--count', String(CAMPAIGN_FAULTS), '--out', out];
  process.stdout.write(`$ npx turnkey campaign ${flags.join(' ')}\n`);
  const code = await turnkey('campaign', ...flags);
  process.stdout.write('\n');
  return code;
}

/**
 * A wild write into V8's heap, and a wild write into a Python string: by keys, wherever there are any.
 * @returns {Promise<string[]>} files in `folder` that say what came of each
 */
async function showHosts(/** @type {string} */ folder) {
  const where = emulatedWanted() ? 'emulated' : 'native';
  const hosts = [
    { name: 'node', program: process.execPath, demo: 'demo.mjs' },
    { name: 'python3', program: '/usr/bin/python3', demo: 'demo.py' },
  ];
  for (const { name, program, demo } of hosts) {
    const file = join('examples', 'hosts', demo);
    if (!existsSync(program)) {
      process.stdout.write(`${program} is not here: ${file} is left out\n`);
      continue;
    }
    process.stdout.write(`$ npx turnkey guard --lane ${where} -- ${name} ${file}\n`);
    await turnkey('guard', '--lane', where, '--json', join(folder, name), '--', program, join(root, file));
    process.stdout.write('\n');
  }
  return hosts.map(({ name }) => join(folder, name)).filter((path) => existsSync(path));
}
