/**
 * Makes records of what a cost measurement printed: turnkey-bench's lines, cost-trial.ts's marked line, or the last
 * line of an experiment's own program. Pure.
 */
import { type CostMeasurement, type CostParameters } from '../experiment/case.js';
import { COST_MARK } from '../experiment/protocol.js';
import { withoutRoot } from '../record/paths.js';
import { type CostRecord, type RunRecord, type SkippedRecord } from '../record/records.js';
import { median } from '../record/statistics.js';
import { timingWarnings, type Warning } from '../record/warnings.js';
import { type ExecResult } from './executor.js';
import { costGroups, costRowName, type PlannedCost } from './plan.js';

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
  const line = stdout.split('\n').find((text) => text.startsWith('{"clock"'));
  return line === undefined ? undefined : (JSON.parse(line) as { clock: BenchClock }).clock;
}

/** The clock, for a lane's details. */
export function clockDetails({ name, overheadNs }: BenchClock): Readonly<Record<string, string>> {
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

export function benchLines(stdout: string): readonly BenchLine[] {
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
      .filter((text) => text.startsWith(COST_MARK))
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
  const wrong = seen.find((process) => process.answer !== (answer ?? first?.answer));
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
