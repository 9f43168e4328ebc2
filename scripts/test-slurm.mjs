// `npm run test:slurm`: a campaign's shards under a real Slurm on this machine alone, and the same campaign in one
// process; both must have the same records. A controller and a node are started by hand in a folder of their own; in
// the middle of the array a task is killed and requeued, and the node's daemon is killed and started again.
// Needs Debian's slurmctld, slurmd, slurm-client and munge, and root. Output is TAP.

import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

import { root } from './setup.mjs';

const SHARDS = 8;
const FAULTS = 22 * 8 * SHARDS;
const PROGRAMS = ['slurmctld', 'slurmd', 'sbatch', 'squeue', 'scontrol', 'munged'];

const folder = mkdtempSync(join(tmpdir(), 'turnkey-slurm-'));
chmodSync(folder, 0o755);
const configuration = join(folder, 'slurm.conf');
/** @type {import('node:child_process').ChildProcess[]} */
const daemons = [];

/** @param {string} program @param {readonly string[]} words @param {string} [input] */
function run(program, words, input) {
  const { status, stdout, stderr } = spawnSync(program, words, {
    cwd: root,
    encoding: 'utf8',
    input,
    env: { ...process.env, SLURM_CONF: configuration },
  });
  return { status, text: `${stdout}${stderr}`.trim() };
}

/** @param {string} program @param {readonly string[]} words */
function daemon(program, words) {
  const child = spawn(program, words, {
    stdio: 'ignore',
    env: { ...process.env, SLURM_CONF: configuration },
  });
  daemons.push(child);
  return child;
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Looks again until `what` answers; ends only by what it looks for, or by the limit of the test that runs this.
 * @template T @param {() => T | undefined | false} what @returns {Promise<T>}
 */
async function until(what) {
  for (;;) {
    const found = what();
    if (found !== undefined && found !== false) return found;
    await pause(300);
  }
}

let points = 0;
let failures = 0;
/** @param {boolean} good @param {string} name @param {string} [why] */
function point(good, name, why = '') {
  points++;
  if (!good) failures++;
  process.stdout.write(`${good ? 'ok' : 'not ok'} ${points} - ${name}\n`);
  if (!good) process.stdout.write(`${why.replace(/^/gm, '# ')}\n`);
}

/** @param {readonly string[]} words */
const turnkey = (words) => run(process.execPath, [join(root, 'dist', 'src', 'cli', 'main.js'), ...words]);

function setUp() {
  const node = hostname().split('.')[0] ?? 'localhost';
  for (const name of ['state', 'spool']) mkdirSync(join(folder, name));
  const key = join(folder, 'munge.key');
  writeFileSync(key, Buffer.from(Array.from({ length: 1024 }, () => Math.floor(Math.random() * 256))));
  chmodSync(key, 0o400);
  const socket = join(folder, 'munge.socket');
  chownSync(key, 0, 0);
  writeFileSync(
    configuration,
    `ClusterName=turnkey
SlurmctldHost=${node}(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=${socket}
StateSaveLocation=${join(folder, 'state')}
SlurmdSpoolDir=${join(folder, 'spool')}
SlurmctldPidFile=${join(folder, 'slurmctld.pid')}
SlurmdPidFile=${join(folder, 'slurmd.pid')}
SlurmctldLogFile=${join(folder, 'slurmctld.log')}
SlurmdLogFile=${join(folder, 'slurmd.log')}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=${node} NodeAddr=127.0.0.1 CPUs=${Math.max(2, availableParallelism())} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`,
  );
  daemon('munged', [
    '--foreground',
    '--force',
    `--key-file=${key}`,
    `--socket=${socket}`,
    `--pid-file=${join(folder, 'munge.pid')}`,
    `--log-file=${join(folder, 'munge.log')}`,
    `--seed-file=${join(folder, 'munge.seed')}`,
  ]);
  return node;
}

const startNode = () => daemon('slurmd', ['-D']);

async function test() {
  const node = setUp();
  await until(() => run('munge', [`--socket=${join(folder, 'munge.socket')}`, '-n']).status === 0);
  daemon('slurmctld', ['-D']);
  const slurmd = startNode();
  await until(() => /^idle/m.test(run('sinfo', ['-h', '-o', '%t']).text));
  point(true, `a Slurm of one node is up (${run('sinfo', ['--version']).text})`);

  const out = join(folder, 'campaign');
  mkdirSync(out);
  const campaign = ['--seed', '77', '--count', String(FAULTS), '--mechanisms', 'none,mprotect-range'];
  const plan = turnkey([
    'campaign',
    'plan',
    '--engine',
    'slurm',
    '--shards',
    String(SHARDS),
    '--out',
    out,
    ...campaign,
  ]);
  const { text } = run('sbatch', ['--parsable'], plan.text);
  const job = /^\d+/.exec(text)?.[0];
  point(job !== undefined, 'sbatch takes the array', text);
  if (job === undefined) return;

  /** @param {string} state */
  const tasks = (state) => run('squeue', ['-h', '-r', '-j', job, '-t', state, '-o', '%i']).text.split('\n');
  const [task = ''] = await until(() => {
    const running = tasks('RUNNING').filter((name) => name.includes('_') && !name.endsWith('_1'));
    return running.length > 0 && running;
  });
  const requeued = run('scontrol', ['requeue', task]);
  point(requeued.status === 0, `task ${task} is killed in the middle and requeued`, requeued.text);
  await until(() => tasks('RUNNING').some((name) => name.includes('_')));
  slurmd.kill('SIGKILL');
  startNode();
  point(true, 'the daemon of the node is killed and started again');

  await until(() => {
    run('scontrol', ['update', `nodename=${node}`, 'state=resume']); // a node that was lost waits for that
    return run('squeue', ['-h', '-o', '%i']).text === '';
  });
  const whole = join(folder, 'one-process');
  const alone = turnkey(['campaign', '--no-report', '--out', whole, ...campaign]);
  point(alone.status === 0, 'the same campaign in one process', alone.text);
  const same = turnkey(['campaign', 'same', join(out, 'whole'), whole]);
  const wanted = `${FAULTS * 2} of ${FAULTS * 2} trials are the same; 0 are in`;
  point(same.status === 0 && same.text.startsWith(wanted), 'the merged array has its records, each one', same.text);
}

const missing = PROGRAMS.filter((program) => spawnSync('which', [program]).status !== 0);
process.stdout.write('TAP version 14\n');
try {
  if (missing.length > 0 || process.getuid?.() !== 0) {
    const why = missing.length > 0 ? `no ${missing.join(', ')} (slurmctld, slurmd, slurm-client, munge)` : 'not root';
    process.stdout.write(`ok 1 - a campaign under Slurm # SKIP ${why}\n1..1\n`);
  } else {
    await test();
    process.stdout.write(`1..${points}\n`);
  }
} finally {
  for (const child of daemons.reverse()) child.kill('SIGKILL');
  if (failures === 0) rmSync(folder, { recursive: true, force: true });
  else process.stdout.write(`# left for a look: ${folder}\n`);
}
process.exitCode = failures > 0 ? 1 : 0;
