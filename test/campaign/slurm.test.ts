/**
 * lanes: native
 * limit: 600 s
 * A campaign's shards under a real Slurm: scripts/test-slurm.mjs, where Slurm is installed. A Slurm of its own runs
 * there on this machine alone.
 * Should break it: shards that overlap (run.ts, shardRange).
 */
import { spawnSync } from 'node:child_process';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';

const INSTALL = 'apt-get install slurmctld slurmd slurm-client munge && npm run test:slurm, as root';

const { status, stdout, stderr } = spawnSync(process.execPath, [inProject('scripts/test-slurm.mjs')], {
  encoding: 'utf8',
});
const missing = /# SKIP (.*)/.exec(stdout)?.[1];
t.test(
  'an array of 8, with a task killed and the daemon of the node too, has the records of one process',
  { skip: missing === undefined ? false : `${missing}: ${INSTALL}` },
  (t) => {
    t.equal(status, 0, `${stdout}${stderr}`);
    for (const [, good = '', name = ''] of stdout.matchAll(/^(ok|not ok) \d+ - (.*)$/gm)) t.equal(good, 'ok', name);
    t.end();
  },
);
