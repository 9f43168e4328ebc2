/**
 * Measures the rows of cost experiments in one lane and makes records of what came back: turnkey-bench for what is
 * written in C, fresh processes of cost-trial.ts for what is written in JavaScript, and of an experiment's own program
 * for what measures itself. Nothing of ours may run beside it in the native lane.
 */
import {
  COST_TRIAL_TIMEOUT_MS,
  type CostExperiment,
  type CostMeasurement,
  type CostParameters,
  type CostSetting,
  type MeasuredExperiment,
  type ProgramExperiment,
} from '../experiment/case.js';
import { COST_MARK, type CostTrialSettings } from '../experiment/protocol.js';
import { BUILT, withoutRoot } from '../record/paths.js';
import { randomBelow, shuffled } from '../record/random.js';
import type { CostRecord, RunRecord, SkippedRecord } from '../record/records.js';
import { median } from '../record/statistics.js';
import { timingWarnings, type Warning } from '../record/warnings.js';
import type { CostLane } from '../record/words.js';
import type { ExecResult, Executor } from './executor.js';
import { costGroups, costRowName, costWord, deriveSeed, type PlannedCost } from './plan.js';

export interface RunCostsOptions {
  readonly setting: CostSetting;
  readonly seed: number;
  /** Time limit in ms of one call of turnkey-bench. */
  readonly timeoutMs: number;
  readonly onRow?: (text: string) => void;
  /** Told by each call of turnkey-bench. */
  readonly onClock?: (clock: BenchClock) => void;
}

interface BenchLine {
  /** Index among the rows asked for. */
  readonly row: number;
  readonly unit?: 'ns' | 'instructions';
  readonly samples?: readonly number[];
  readonly repeats?: number;
  readonly counts?: CostRecord['counts'];
  /** In user mode, of one operation and the loop around it. */
  readonly instructions?: number;
  /** Every operation is timed for itself. */
  readonly each?: boolean;
  readonly processes?: number;
  readonly warmUp?: number;
  readonly settled?: boolean;
  readonly pinned?: boolean;
  readonly steal?: number;
  readonly ghz?: readonly number[];
  readonly switches?: number;
  readonly observed?: Readonly<Record<string, number>>;
  /** A code of record/warnings.ts. */
  readonly warning?: string;
  readonly skipped?: string;
  readonly broken?: string;
}

/** The clock of turnkey-bench, from its first line. */
export interface BenchClock {
  readonly name: string;
  readonly nsPerTick: number;
  readonly overheadNs: number;
  readonly drift: number;
}

/** The clock that turnkey-bench told of; undefined where it told of none. */
export function benchClock(stdout: string): BenchClock | undefined {
  const line = stdout.split('\n').find((one) => one.startsWith('{"clock"'));
  return line === undefined ? undefined : (JSON.parse(line) as { clock: BenchClock }).clock;
}

/** The clock, for a lane's details. */
export function clockDetails({ name, overheadNs }: BenchClock): { readonly [name: string]: string } {
  return { clock: `${name}, read in ${overheadNs.toFixed(1)} ns, which is taken off` };
}

/** Two calibrations that differ by more make times inexact. */
const MOST_DRIFT = 1e-4;

/** What the clock and the machine take from all times of a lane. */
export function laneWarnings({ name, drift }: BenchClock, virtualised: boolean): readonly Warning[] {
  return [
    ...(Math.abs(drift) > MOST_DRIFT ? [{ code: 'clock-drift', drift: Math.abs(drift) } as const] : []),
    ...(name.includes('TSC') ? [] : [{ code: 'no-invariant-tsc' } as const]),
    ...(virtualised ? [{ code: 'virtualised' } as const] : []),
  ];
}

/** A warning of turnkey-bench: a code of ours, or a sentence. */
function benchWarning(word: string): Warning {
  return word === 'oversubscribed' ? { code: word } : { code: 'other', text: word, remedy: '' };
}

function benchLines(stdout: string): readonly BenchLine[] {
  return stdout.split('\n').flatMap((line) => {
    try {
      return line.startsWith('{"row"') ? [JSON.parse(line) as BenchLine] : [];
    } catch {
      return [];
    }
  });
}

function skippedRow({ name, row, lane }: PlannedCost): Omit<SkippedRecord, 'reason'> {
  return {
    kind: 'skipped',
    of: 'cost',
    name: costRowName(name, row),
    mechanism: row.mechanism,
    lane: row.lane ?? lane,
  };
}

function recordOf(
  cost: PlannedCost,
  unit: CostRecord['unit'],
  samples: readonly number[],
  more: {
    readonly repeats?: number | undefined;
    readonly counts?: CostRecord['counts'] | undefined;
    readonly warnings?: readonly Warning[] | undefined;
    readonly found?: CostParameters | undefined;
    readonly observed?: CostRecord['observed'] | undefined;
    readonly method?: CostRecord['method'] | undefined;
  },
): CostRecord {
  const { counts, warnings, repeats, found, observed, method } = more;
  return {
    kind: 'cost',
    experiment: cost.name,
    mechanism: cost.row.mechanism,
    lane: cost.row.lane ?? cost.lane,
    varied: cost.row.parameters,
    found: { ...cost.row.about, ...found, ...(repeats === undefined ? {} : { repeats }) },
    ...(cost.row.rung === undefined ? {} : { rung: cost.row.rung }),
    unit,
    samples,
    median: median(samples),
    ...(counts === undefined ? {} : { counts }),
    ...(warnings === undefined || warnings.length === 0 ? {} : { warnings }),
    ...(observed === undefined || Object.keys(observed).length === 0 ? {} : { observed }),
    ...(method === undefined ? {} : { method }),
  };
}

function endOf(result: ExecResult): string {
  return (
    result.lost ??
    (result.timedOut ? 'past its time limit' : (result.signal ?? `exit code ${result.exitCode ?? 'unknown'}`))
  );
}

/** Which of its experiment's groups each row is in. */
function groupNumbers(costs: readonly PlannedCost[]): ReadonlyMap<PlannedCost, number> {
  return new Map(
    costGroups(costs).flatMap((group, number) => group.map((cost): [PlannedCost, number] => [cost, number])),
  );
}

/**
 * Records from what turnkey-bench printed of these rows; rows that it did not print are skipped ones that say why.
 * Pure.
 */
export function benchRecords(costs: readonly PlannedCost[], result: ExecResult): readonly RunRecord[] {
  const lines = new Map(benchLines(result.stdout).map((line) => [line.row, line]));
  const clock = benchClock(result.stdout);
  const groupOf = groupNumbers(costs);
  return costs.map((cost, at): RunRecord => {
    const line = lines.get(at);
    if (line?.skipped !== undefined) return { ...skippedRow(cost), reason: line.skipped };
    if (line?.broken !== undefined) return { ...skippedRow(cost), reason: line.broken, broken: true };
    if (line?.samples === undefined || line.unit === undefined || line.samples.length === 0) {
      return {
        ...skippedRow(cost),
        reason:
          `turnkey-bench gave no such row (${endOf(result)}) ${result.stderr.trim().split('\n').pop() ?? ''}`.trim(),
        broken: true,
      };
    }
    const {
      unit,
      samples,
      repeats = 1,
      counts,
      instructions,
      each = false,
      processes = 1,
      warmUp = 0,
      settled = true,
      pinned = true,
      steal = 0,
      ghz = [],
      switches = 0,
      observed,
      warning,
    } = line;
    const timed =
      unit === 'ns'
        ? timingWarnings({
            samples,
            timedOperations: each ? 1 : repeats,
            clockOverheadNs: clock?.overheadNs ?? 0,
            settled,
            pinned,
            steal,
            ghz,
            switches,
          })
        : [];
    return recordOf(cost, unit, samples, {
      repeats,
      counts,
      method: { processes, group: groupOf.get(cost) ?? 0, warmUp, pinned },
      warnings: [...(warning === undefined ? [] : [benchWarning(warning)]), ...timed],
      observed: { ...(instructions === undefined ? {} : { userInstructions: instructions }), ...observed },
    });
  });
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

function parsed(text: string | undefined): CostMeasurement | undefined {
  try {
    const found: unknown = text === undefined ? undefined : JSON.parse(text);
    return typeof found === 'object' && found !== null && ('samples' in found || 'skipped' in found)
      ? (found as CostMeasurement)
      : undefined;
  } catch {
    return undefined;
  }
}

/** What one process measured: a marked line of cost-trial.ts, or the last line of a program that ended well. */
function measurementIn({ experiment }: PlannedCost, { stdout, exitCode }: ExecResult): CostMeasurement | undefined {
  if ('command' in experiment) return exitCode === 0 ? parsed(stdout.trimEnd().split('\n').pop()) : undefined;
  return parsed(
    stdout
      .split('\n')
      .filter((one) => one.startsWith(COST_MARK))
      .pop()
      ?.slice(COST_MARK.length),
  );
}

/** Each warning once. */
function distinct(warnings: readonly Warning[]): readonly Warning[] {
  return [...new Map(warnings.map((warning) => [JSON.stringify(warning), warning])).values()];
}

type Measured = Exclude<CostMeasurement, { readonly skipped: string }>;

/** Sums each observed counter over the processes. */
function observedIn(seen: readonly Measured[]): CostRecord['observed'] {
  const names = new Set(seen.flatMap(({ observed }) => Object.keys(observed ?? {})));
  return Object.fromEntries(
    [...names].map((name) => [name, seen.reduce((sum, { observed }) => sum + (observed?.[name] ?? 0), 0)]),
  );
}

/**
 * One record of what the processes of one row saw, in the order of rounds. A row of which one round failed is no row.
 * `answer`: what the row must answer, if it answers. Pure.
 */
export function measuredRecord(
  cost: PlannedCost,
  results: readonly ExecResult[],
  group = 0,
  answer?: string,
): RunRecord {
  const seen: Measured[] = [];
  for (const result of results) {
    const measurement = measurementIn(cost, result);
    if (measurement === undefined || ('samples' in measurement && measurement.samples.length === 0)) {
      return {
        ...skippedRow(cost),
        reason: withoutRoot(
          `nothing was measured (${endOf(result)}) ${result.stderr.trim().split('\n').pop() ?? ''}`.trim(),
        ),
        broken: true,
      };
    }
    if ('skipped' in measurement) return { ...skippedRow(cost), reason: measurement.skipped };
    seen.push(measurement);
  }
  const [first] = seen;
  const wrong = seen.find((one) => one.answer !== (answer ?? first?.answer));
  if (wrong !== undefined)
    return {
      ...skippedRow(cost),
      reason:
        `its answer was ${wrong.answer ?? 'none'}, not ${answer ?? first?.answer ?? 'none'}: this is not ` +
        'the same work',
      broken: true,
    };
  return recordOf(
    cost,
    cost.lane === 'emulated' ? 'instructions' : 'ns',
    seen.flatMap(({ samples }) => samples),
    {
      repeats: first?.repeats,
      counts: first?.counts,
      found: first?.found,
      warnings: distinct(seen.flatMap(({ warnings }) => warnings ?? [])),
      observed: observedIn(seen),
      method: { processes: results.length, group, ...(first?.warmUp === undefined ? {} : { warmUp: first.warmUp }) },
    },
  );
}

/** The records of rows that were measured together: all must answer what the first that answers at all did. Pure. */
export function measuredRecords(
  group: readonly PlannedCost[],
  resultsOf: ReadonlyMap<PlannedCost, readonly ExecResult[]>,
  number: number,
): readonly RunRecord[] {
  const answers = group.flatMap((cost) =>
    (resultsOf.get(cost) ?? []).flatMap((result) => {
      const measurement = measurementIn(cost, result);
      return measurement !== undefined && 'samples' in measurement ? (measurement.answer ?? []) : [];
    }),
  );
  return group.map((cost) => measuredRecord(cost, resultsOf.get(cost) ?? [], number, answers[0]));
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
