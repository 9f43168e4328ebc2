/**
 * Measures the rows of cost experiments in one lane. Turnkey-bench measures what is written in C, fresh processes of
 * cost-trial.ts what is written in JavaScript. An experiment's own program measures itself. Nothing of ours may run
 * beside it in the native lane. cost-records.ts makes records of what came back.
 */
import {
  COST_TRIAL_TIMEOUT_MS,
  type CostExperiment,
  type CostSetting,
  type MeasuredExperiment,
  type ProgramExperiment,
} from '../experiment/case.js';
import { type CostTrialSettings } from '../experiment/protocol.js';
import { BUILT } from '../record/paths.js';
import { randomBelow, shuffled } from '../record/random.js';
import { type RunRecord } from '../record/records.js';
import { type CostLane } from '../record/words.js';
import { type BenchClock, benchClock, benchLines, benchRecords, measuredRecords } from './cost-records.js';
import { type ExecResult, type Executor } from './executor.js';
import { costGroups, costWord, deriveSeed, type PlannedCost } from './plan.js';

export interface RunCostsOptions {
  readonly setting: CostSetting;
  readonly seed: number;
  /** Time limit in ms of one call of turnkey-bench. */
  readonly timeoutMs: number;
  readonly onRow?: (text: string) => void;
  /** Told by each call of turnkey-bench. */
  readonly onClock?: (clock: BenchClock) => void;
}

/** A planned row as turnkey-bench reads it. */
export function benchArgument({ experiment, row }: PlannedCost): string {
  if (!('bench' in experiment)) throw new TypeError('not a row of turnkey-bench');
  return `${experiment.bench}:${row.mechanism}:${costWord(row.options ?? row.parameters)}`;
}

/** The command line of turnkey-bench for these rows: groups that are interleaved stand between slashes. */
export function benchCommand(
  groups: readonly (readonly PlannedCost[])[],
  lane: CostLane,
  options: Pick<RunCostsOptions, 'seed' | 'setting'>,
): readonly string[] {
  const {
    seed,
    setting: { quick },
  } = options;
  return [
    BUILT.bench,
    ...(lane === 'emulated'
      ? ['--counted', '--rounds', quick ? '3' : '5']
      : ['--processes', '3', '--rounds', quick ? '5' : '10']),
    '--seed',
    String(seed),
    '--steps',
    quick ? '600' : '20000',
    ...groups.flatMap((group, at) => [...(at === 0 ? [] : ['/']), ...group.map(benchArgument)]),
  ];
}

async function runBench(
  executor: Executor,
  costs: readonly PlannedCost[],
  options: RunCostsOptions,
  onRow: (done: number) => void,
): Promise<readonly RunRecord[]> {
  const groups = costGroups(costs);
  let printed = '';
  const result = await executor.run(
    benchCommand(groups, executor.lane === 'emulated' ? 'emulated' : 'native', options),
    {
      timeoutMs: options.timeoutMs,
      onStdout(text) {
        printed += text;
        onRow(benchLines(printed).length);
      },
    },
  );
  const clock = benchClock(result.stdout);
  if (clock !== undefined) options.onClock?.(clock);
  return benchRecords(groups.flat(), result);
}

/** The command of one row in one round, and its time limit. */
type CommandOf = (
  cost: PlannedCost,
  round: number,
  seed: number,
) => { readonly argv: readonly string[]; readonly timeoutMs: number };

/** Each row of each round in a process of its own; the rows of a group in an order drawn anew for each round. */
async function runProcesses(
  executor: Executor,
  rounds: number,
  commandOf: CommandOf,
  costs: readonly PlannedCost[],
  { seed: runSeed }: RunCostsOptions,
  onRow: (done: number) => void,
): Promise<readonly RunRecord[]> {
  let done = 0;
  const records: RunRecord[] = [];
  for (const [number, group] of costGroups(costs).entries()) {
    const results = new Map<PlannedCost, ExecResult[]>(group.map((cost) => [cost, []]));
    for (let round = 0; round < rounds; round++) {
      const seed = deriveSeed(
        runSeed,
        JSON.stringify([group[0]?.name, group[0]?.row.together ?? group[0]?.row.parameters, round]),
      );
      for (const cost of shuffled(group, randomBelow(seed))) {
        const { argv, timeoutMs } = commandOf(cost, round, seed);
        results.get(cost)?.push(await executor.run(argv, { timeoutMs }));
        if (round === rounds - 1) onRow(++done);
      }
    }
    records.push(...measuredRecords(group, results, number));
  }
  return records;
}

function measuredCommand(
  { timeoutMs = COST_TRIAL_TIMEOUT_MS }: MeasuredExperiment,
  { setting: { quick } }: RunCostsOptions,
): CommandOf {
  return (cost, round, seed) => {
    const settings: CostTrialSettings = { row: cost.row, round, quick, seed };
    return { argv: ['node', '--expose-gc', BUILT.costTrial, cost.name, JSON.stringify(settings)], timeoutMs };
  };
}

function programCommand(experiment: ProgramExperiment, { setting, timeoutMs }: RunCostsOptions): CommandOf {
  return ({ row }) => ({ argv: experiment.command(row, setting), timeoutMs });
}

/** How many processes each row gets where its experiment does not say. */
function usualRounds({ lane, quick }: CostSetting): number {
  return quick || lane === 'emulated' ? 1 : 3;
}

/** Measures planned rows in one lane, experiment by experiment. */
export async function runCosts(
  executor: Executor,
  costs: readonly PlannedCost[],
  options: RunCostsOptions,
): Promise<readonly RunRecord[]> {
  const records: RunRecord[] = [];
  for (const name of new Set(costs.map((cost) => cost.name))) {
    const rows = costs.filter((cost) => cost.name === name);
    const experiment = rows[0]?.experiment as CostExperiment;
    const before = records.length;
    const onRow = (done: number): void => {
      options.onRow?.(`${name}: ${before + done} of ${costs.length}`);
    };
    onRow(0);
    if ('bench' in experiment) records.push(...(await runBench(executor, rows, options, onRow)));
    else {
      const rounds =
        ('measure' in experiment ? experiment.rounds?.(options.setting) : undefined) ?? usualRounds(options.setting);
      const commandOf =
        'command' in experiment ? programCommand(experiment, options) : measuredCommand(experiment, options);
      records.push(...(await runProcesses(executor, rounds, commandOf, rows, options, onRow)));
    }
  }
  return records;
}
