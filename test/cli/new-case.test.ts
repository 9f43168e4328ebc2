/**
 * An experiment is one file, and nothing else knows of it: what `turnkey new-case` writes compiles and runs as it is;
 * so does a cost experiment that is dropped into experiments/cost, and the report titles it, charts it and puts it into
 * tables. All in a copy of the project.
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

/** A cost experiment whose samples are made up, so that no machine's speed shows. */
const COST_EXPERIMENT = `
import type { CostExperiment } from '../../src/experiment/index.js';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'climbing a stair',
  title: 'Climbing the stair of my own',
  question: 'What does each step of the stair cost?',
  order: 1,
  shows: 'lines',
  parameters: { stepsClimbed: { role: 'x' }, shoes: { role: 'panel', alone: true } },
  rows: () =>
    (['boots', 'sandals'] as const).flatMap((shoes) =>
      [1, 4].flatMap((stepsClimbed) =>
        (['none', 'flag'] as const).map((mechanism) => ({ mechanism, parameters: { stepsClimbed, shoes } })),
      ),
    ),
  measure: ({ row }) => ({
    samples: Array.from({ length: 9 }, () => 1000 * Number(row.parameters['stepsClimbed'])),
    warnings: [],
  }),
};
`;

t.test('a template and a dropped cost experiment compile and run as they are', (t) => {
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

  writeFileSync(join(root, 'experiments', 'cost', 'stair-of-my-own.ts'), COST_EXPERIMENT);
  const settings = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as { include: readonly string[] };
  writeFileSync(join(root, 'tsconfig.json'), JSON.stringify({ ...settings, include: ['src', 'experiments'] }));
  t.match(node(join(root, 'node_modules', 'typescript-7', 'bin', 'tsc'), '-p', 'tsconfig.json'), {
    status: 0,
    text: '',
  });
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

  // Broken once: the experiment's question not drawn by the report.
  const cost = ['run', 'cost', '--case', 'stair-of-my-own', '--quick', '--lane', 'native', '--out', 'cost'];
  t.match(node(turnkey, ...cost), { status: 0, text: /stair-of-my-own/ });
  const run = readRun(join(root, 'cost'));
  t.match(run.context.experiments, [{ name: 'stair-of-my-own', title: 'Climbing the stair of my own', order: 1 }]);
  t.equal(run.records.length, 8);
  const page = readFileSync(join(root, 'cost', 'report.html'), 'utf8');
  const section = /<section id="cost-stair-of-my-own"[^]*?<\/section>/.exec(page)?.[0] ?? '';
  t.match(section, 'Climbing the stair of my own');
  t.match(section, 'What does each step of the stair cost?');
  t.match(section, /<svg[^]*steps climbed/, 'a chart over its parameter');
  for (const shoes of ['boots', 'sandals']) t.match(section, shoes);
  t.end();
});
