// `npm start`: sets up what is missing, builds what has changed, shows two programs that know nothing of Turnkey behind
// `turnkey guard`, makes a small campaign, and runs the experiments. Arguments go on to `turnkey run`, and leave all
// else out; with `--lane wine`, what that lane needs is set up and cross-compiled.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

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
process.on('SIGINT', () => undefined); // the child gets it too, and says goodbye
const turnkey = (/** @type {string[]} */ ...args) =>
  spawnSync(process.execPath, [join(root, 'dist', 'src', 'cli', 'main.js'), ...args], { stdio: 'inherit' });
// first: the run ends by naming its report, which tells of them
const guarded = words.length === 0 ? showHosts() : [];
if (words.length === 0) {
  const out = join('results', `${new Date().toISOString().slice(0, 19).replace(/:/g, '-')}Z`);
  showCampaign(join(out, 'campaign'));
  words.push('--out', out);
}
const { status, signal, error } = turnkey(
  'run',
  ...words,
  ...(guarded.length > 0 ? ['--guarded', guarded.join(',')] : []),
);
if (guarded.length > 0) rmSync(dirname(guarded[0] ?? ''), { recursive: true, force: true });
if (error) fail(error);
process.exit(status ?? 128 + (signal === null ? 0 : constants.signals[signal]));

/** A few hundred random stores, here: the guest makes too few a second for a first look. */
function showCampaign(/** @type {string} */ out) {
  const flags = ['--count', String(CAMPAIGN_FAULTS), '--out', out];
  process.stdout.write(`$ npx turnkey campaign ${flags.join(' ')}\n`);
  turnkey('campaign', ...flags);
  process.stdout.write('\n');
}

/**
 * A wild write into V8's heap, and one into a Python string: by keys, wherever they are to be had.
 * @returns {string[]} files that say what came of each, in a folder of their own
 */
function showHosts() {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-start-'));
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
    turnkey('guard', '--lane', where, '--json', join(folder, name), '--', program, join(root, file));
    process.stdout.write('\n');
  }
  return hosts.map(({ name }) => join(folder, name)).filter((path) => existsSync(path));
}
