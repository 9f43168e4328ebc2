// `npm run reference`: makes the reference run, from which README and the documents draw their figures. It runs every
// corruption case, honest work and every cost row, in every lane there is, into results/reference. Then it writes the
// figures in the documents anew. It needs a quiet machine and a clean tree, since its times are kept; --anyway makes it
// run all the same. Other arguments go on to `turnkey run`.

import { spawnSync } from 'node:child_process';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';

import { fail, root, setUp } from './setup.mjs';

/** Processors that may be busy with something else. */
const MOST_LOAD = 0.3;
const SEED = '1';

const given = process.argv.slice(2).filter((word) => word !== '--anyway');
const anyway = process.argv.includes('--anyway');

const [load = 0] = loadavg();
const changed = spawnSync('git', ['status', '--porcelain', '--untracked-files=no'], {
  cwd: root,
  encoding: 'utf8',
}).stdout.trim();
const objections = [
  ...(load > MOST_LOAD
    ? [`the machine is not quiet: ${load.toFixed(2)} of its ${cpus().length} processors were busy in the last minute`]
    : []),
  ...(changed === '' ? [] : ['files differ from the last commit, which the run would name']),
];
if (objections.length > 0 && !anyway) {
  process.stderr.write(`npm run reference: ${objections.join('; ')} (--anyway: all the same)\n`);
  process.exit(1);
}
try {
  setUp();
} catch (error) {
  fail(error);
}
const status =
  spawnSync(
    process.execPath,
    [
      join(root, 'dist', 'src', 'cli', 'main.js'),
      'run',
      '--full',
      '--seed',
      SEED,
      '--out',
      join('results', 'reference'),
      ...given,
    ],
    { cwd: root, stdio: 'inherit' },
  ).status ?? 1;
if (status !== 0 && status !== 4) process.exit(status);
// 4: something could not be tried, which the report says; the figures are what was recorded.
process.exit(
  spawnSync(process.execPath, [join(root, 'scripts', 'report-reference.mjs')], { cwd: root, stdio: 'inherit' })
    .status ?? status,
);
