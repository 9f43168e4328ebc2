/**
 * `turnkey new-case`: what it writes compiles and runs as it is, in a copy of the project.
 *
 * lanes: native
 * limit: 300 s
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { PROJECT_ROOT } from '../../src/record/paths.js';
import { readRun } from '../../src/record/store.js';

t.test('a template compiles and runs as it is', (t) => {
  const root = t.testdir({});
  for (const part of ['src', 'experiments', 'scripts', 'package.json', 'tsconfig.json'])
    cpSync(join(PROJECT_ROOT, part), join(root, part), { recursive: true });
  mkdirSync(join(root, 'dist'));
  for (const part of ['src', 'experiments', 'trial', 'vendor'])
    cpSync(join(PROJECT_ROOT, 'dist', part), join(root, 'dist', part), { recursive: true });
  for (const part of ['node_modules', 'build']) symlinkSync(join(PROJECT_ROOT, part), join(root, part));
  const node = (...argv: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, argv, { cwd: root, encoding: 'utf8' });
    return { status, text: stdout + stderr };
  };
  const turnkey = join(root, 'dist', 'src', 'cli', 'main.js');

  t.match(node(turnkey, 'new-case', 'Not A Name'), { status: 1, text: /no name for a case/ });
  t.match(node(turnkey, 'new-case', 'wild-write'), { status: 1, text: /already/ });
  t.match(node(turnkey, 'new-case', 'of-my-own'), { status: 0, text: /of-my-own\.ts/ });
  t.match(
    readFileSync(join(root, 'experiments', 'corruption', 'stray-writes', 'of-my-own.ts'), 'utf8'),
    /\?\n[^]*Stands for[^]*Varies: [^]*Records: /,
    'with all that a docstring needs',
  );

  const settings = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as { include: readonly string[] };
  writeFileSync(join(root, 'tsconfig.json'), JSON.stringify({ ...settings, include: ['src', 'experiments'] }));
  t.match(node(join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'), { status: 0, text: '' });
  t.equal(node(join(root, 'scripts', 'bundle.mjs')).status, 0);
  const ran = node(
    turnkey,
    'run',
    'corruption',
    '--case',
    'of-my-own',
    '--mechanisms',
    'none,mprotect-range',
    '--lane',
    'native',
    '--out',
    'out',
  );
  t.match(
    ran,
    {
      status: 0,
      text: /of-my-own under mprotect-range, stray writes, native lane\n {2}Case [^]*prevented: SEGV_ACCERR/,
    },
    'its evidence is printed',
  );
  t.same(
    readRun(join(root, 'out')).records.map(
      (record) => record.kind === 'corruption' && [record.mechanism, record.verdict, record.surprise],
    ),
    [
      ['none', 'damaged', false],
      ['mprotect-range', 'prevented', false],
    ],
  );
  t.end();
});
