/**
 * What engines that exist take to run a campaign's shards and merge them: a Slurm job array, a Kubernetes Indexed Job,
 * a GitHub matrix, a line of xargs. Each shard is safe to start again: it goes on where it stopped. Pure text.
 *
 * sbatch(1), "Job Array"; kubernetes.io/docs/concepts/workloads/controllers/job, "Completion mode"; GitHub Actions,
 * "jobs.<job_id>.strategy.matrix".
 */
import type { GuardMechanism } from '../record/words.js';
import type { Process } from './subjects.js';

export const ENGINES = ['slurm', 'kubernetes', 'github', 'local'] as const;
export type Engine = (typeof ENGINES)[number];

export interface EngineOptions {
  readonly seed: number;
  readonly count: number;
  readonly lane: 'native' | 'emulated';
  readonly process: Process;
  readonly shards: number;
  readonly mechanisms: readonly GuardMechanism[];
  /** Directory that all shards can reach; shard i writes to out/shard-i. */
  readonly out: string;
}

const TURNKEY = 'node dist/src/cli/main.js';

/** The command of one shard. `part` is what the engine puts in its place. */
function shardCommand({ seed, count, lane, process, shards, mechanisms, out }: EngineOptions, part: string): string {
  const whose = process === 'node' ? ' --process node' : '';
  return (
    `${TURNKEY} campaign --seed ${seed} --count ${count} --lane ${lane}${whose} --mechanisms ${mechanisms.join(',')} ` +
    `--shard ${part}/${shards} --no-report --out ${out}/shard-${part}`
  );
}

const mergeCommand = ({ out }: EngineOptions): string =>
  `${TURNKEY} merge --out ${out}/whole ${out}/shard-*/ && ${TURNKEY} campaign report ${out}/whole`;

/** The array, and its merge as a job that waits for every task to end well. */
function slurm(options: EngineOptions): string {
  return `#!/bin/bash
# sbatch THIS-FILE, from the project's folder on a file system that all nodes share.
#SBATCH --job-name=turnkey-campaign
#SBATCH --array=1-${options.shards}
#SBATCH --cpus-per-task=2
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=${options.out}/shard-%a.log
set -euo pipefail
if [ "\${SLURM_ARRAY_TASK_ID:-}" = "\${SLURM_ARRAY_TASK_MIN:-1}" ] && [ "\${SLURM_RESTART_COUNT:-0}" = 0 ]; then
  sbatch --job-name=turnkey-merge --dependency="afterok:$SLURM_ARRAY_JOB_ID" --output="${options.out}/merge.log" \\
    --wrap '${mergeCommand(options)}'
fi
${shardCommand(options, '"$SLURM_ARRAY_TASK_ID"')}
`;
}

/** JSON, which is YAML. */
function kubernetes(options: EngineOptions): string {
  const volume = { name: 'results', persistentVolumeClaim: { claimName: 'turnkey-results' } };
  const container = (name: string, command: string) => ({
    name,
    image: 'turnkey:latest', // the project, built, in /turnkey
    workingDir: '/turnkey',
    command: ['/bin/bash', '-c', command],
    // tracing a child is the one thing that a trial needs of its container
    securityContext: { capabilities: { add: ['SYS_PTRACE'] }, seccompProfile: { type: 'Unconfined' } },
    resources: { requests: { cpu: '2', memory: '1Gi' } },
    volumeMounts: [{ name: 'results', mountPath: '/results' }],
  });
  const job = (name: string, spec: object, run: string) => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: {
      backoffLimit: 6,
      ...spec,
      template: { spec: { restartPolicy: 'OnFailure', volumes: [volume], containers: [container(name, run)] } },
    },
  });
  const inside = { ...options, out: `/results/${options.out.split('/').at(-1) ?? 'campaign'}` };
  const shards = { completionMode: 'Indexed', completions: options.shards, parallelism: options.shards };
  const list = {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      job('turnkey-campaign', shards, `part=$((JOB_COMPLETION_INDEX + 1)); ${shardCommand(inside, '$part')}`),
      // waits for the shards by their records: merge answers 4 while trials are missing, and the Job tries again
      job('turnkey-merge', { backoffLimit: 1000 }, `sleep 30; ${mergeCommand(inside)}`),
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

function github(options: EngineOptions): string {
  const parts = Array.from({ length: options.shards }, (_, at) => at + 1).join(', ');
  const inside = { ...options, out: 'campaign' };
  return `name: campaign
on: workflow_dispatch
jobs:
  shard:
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        part: [${parts}]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-node@v4
        with: { node-version: 20 }
      - run: node scripts/setup.mjs
      - run: ${shardCommand(inside, '${{ matrix.part }}')}
      - uses: actions/upload-artifact@v4
        with:
          name: shard-\${{ matrix.part }}
          path: campaign/shard-\${{ matrix.part }}
  merge:
    needs: shard
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-node@v4
        with: { node-version: 20 }
      - run: node scripts/setup.mjs
      - uses: actions/download-artifact@v4
        with: { path: campaign }
      - run: ${mergeCommand(inside)}
      - uses: actions/upload-artifact@v4
        with: { name: whole, path: campaign/whole }
`;
}

function local(options: EngineOptions): string {
  return (
    `seq ${options.shards} | xargs -P "$(nproc)" -I PART ${shardCommand(options, 'PART')} && \\\n` +
    `  ${mergeCommand(options)}\n`
  );
}

/** What `engine` takes. */
export function enginePlan(engine: Engine, options: EngineOptions): string {
  return { slurm, kubernetes, github, local }[engine](options);
}
