// `npm start`: sets up what is missing, builds what has changed, and runs the experiments. Arguments go on to `turnkey
// run`.

import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';

import { fail, root, setUp } from './setup.mjs';

try {
  setUp();
} catch (error) {
  fail(error);
}
process.on('SIGINT', () => undefined); // the child gets it too, and says goodbye
const { status, signal, error } = spawnSync(
  process.execPath,
  [join(root, 'dist', 'src', 'cli', 'main.js'), 'run', ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
if (error) fail(error);
process.exit(status ?? 128 + (constants.signals[signal] ?? 0));
