// `npm start`: sets up what is missing, builds what has changed, and runs the experiments. Arguments go on to `turnkey
// run`; with `--lane wine`, what that lane needs is set up and cross-compiled.

import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';

import {
  buildCross,
  buildNative,
  buildTypeScript,
  CROSS_LANES,
  ensurePrerequisites,
  fail,
  root,
  setUp,
} from './setup.mjs';

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
const { status, signal, error } = spawnSync(
  process.execPath,
  [join(root, 'dist', 'src', 'cli', 'main.js'), 'run', ...words],
  { stdio: 'inherit' },
);
if (error) fail(error);
process.exit(status ?? 128 + (signal === null ? 0 : constants.signals[signal]));
