/** Cost records joined to cells: which records belong together, and what each cell says. Pure functions of a run. */
import type { ExperimentContext, ParameterDescription } from '../../record/description.js';
import type { CostRecord, Run, Values } from '../../record/records.js';
import { median } from '../../record/statistics.js';
import { type Lane, LANES, type Mechanism, MECHANISMS } from '../../record/words.js';
import { bootstrapMedian, type Interval } from './bootstrap.js';
import { costsOf } from './records.js';
import { type Spread, spreadOf } from './spread.js';

/** Fewer samples give no interval. */
export const LEAST_SAMPLES = 5;

/**
 * One cell of a cost table: all records of the same experiment, mechanism, lane and variation, their samples joined.
 */
export interface Cost {
  readonly experiment: ExperimentContext;
  readonly mechanism: Mechanism;
  readonly lane: Lane;
  readonly unit: CostRecord['unit'];
  /** Sorted by name. */
  readonly varied: Values;
  readonly found: Values;
  readonly rung: string | undefined;
  readonly samples: readonly number[];
  /** The median of times; of counts the least, which repeats best. */
  readonly value: number;
  /** 95 % bootstrap interval of the median; none for counts and for fewer than five samples. */
  readonly interval: Interval | null;
  readonly counts: CostRecord['counts'];
  /** What was seen besides, over all processes. */
  readonly observed: CostRecord['observed'];
  /** Rows of one experiment and group were measured in the same rounds; undefined where the run does not say. */
  readonly group: number | undefined;
  /** The spread of times; null for counts. */
  readonly spread: Spread | null;
}

/** The key of a cell; records with the same key are one cell. */
export function costKey(
  { mechanism, lane, varied }: Pick<Cost, 'mechanism' | 'lane' | 'varied'>,
  experiment: string,
): string {
  return JSON.stringify([experiment, mechanism, lane, Object.entries(varied).sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** The key of a record's cell. */
export const recordKey = (record: CostRecord): string => costKey(record, record.experiment);

/** An experiment that the run does not describe is shown under its own name, as rows. */
export function describe(run: Run, name: string): ExperimentContext {
  return (
    run.context.experiments.find((experiment) => experiment.name === name) ?? {
      name,
      title: name,
      question: '',
      order: Number.MAX_SAFE_INTEGER,
      shows: 'rows',
      parameters: {},
    }
  );
}

/** The names of an experiment's parameters with a role. */
export function namesWith(
  { parameters }: Pick<ExperimentContext, 'parameters'>,
  role: ParameterDescription['role'],
): readonly string[] {
  return Object.entries(parameters).flatMap(([name, parameter]) => (parameter.role === role ? [name] : []));
}

/** The image size of a cell, in bytes; undefined where there is none. */
export function sizeOf({ varied, experiment }: Pick<Cost, 'varied' | 'experiment'>): number | undefined {
  const [size] = namesWith(experiment, 'size').map((name) => varied[name]);
  return typeof size === 'number' ? size : undefined;
}

/** A cell that is no part of another: its parameters of role `aside` have their usual values. */
export function isWhole({ varied, experiment }: Pick<Cost, 'varied' | 'experiment'>): boolean {
  return namesWith(experiment, 'aside').every(
    (name) => varied[name] === undefined || varied[name] === experiment.parameters[name]?.usual,
  );
}

function joined(group: readonly [CostRecord, ...CostRecord[]], experiment: ExperimentContext): Cost {
  const [first] = group;
  const samples = group.flatMap((record) => record.samples);
  const timed = first.unit === 'ns';
  return {
    experiment,
    mechanism: first.mechanism,
    lane: first.lane,
    unit: first.unit,
    varied: Object.fromEntries(Object.entries(first.varied).sort(([a], [b]) => (a < b ? -1 : 1))),
    found: first.found,
    rung: first.rung,
    samples,
    value: !timed ? Math.min(...samples) : group.length === 1 ? first.median : median(samples),
    interval: timed && samples.length >= LEAST_SAMPLES ? bootstrapMedian(samples) : null,
    counts: first.counts,
    observed: first.observed,
    group: first.method?.group,
    spread: timed ? spreadOf(samples) : null,
  };
}

/** All cost records of a run as cells, in the order of experiments' names, lanes, mechanisms and image sizes. */
export function costCells(run: Run): readonly Cost[] {
  const groups = new Map<string, [CostRecord, ...CostRecord[]]>();
  for (const record of costsOf(run)) {
    const group = groups.get(recordKey(record));
    if (group === undefined) groups.set(recordKey(record), [record]);
    else group.push(record);
  }
  return [...groups.values()]
    .map((group) => joined(group, describe(run, group[0].experiment)))
    .sort(
      (a, b) =>
        (a.experiment.name < b.experiment.name ? -1 : a.experiment.name > b.experiment.name ? 1 : 0) ||
        LANES.indexOf(a.lane) - LANES.indexOf(b.lane) ||
        MECHANISMS.indexOf(a.mechanism) - MECHANISMS.indexOf(b.mechanism) ||
        (sizeOf(a) ?? 0) - (sizeOf(b) ?? 0),
    );
}

/** The experiments that cells are of, in the order of reports. */
export function experimentsOf(cells: readonly Cost[]): readonly ExperimentContext[] {
  const present = new Map(cells.map(({ experiment }) => [experiment.name, experiment]));
  return [...present.values()].sort((a, b) => a.order - b.order || (a.name < b.name ? -1 : 1));
}

/** How unlike the usual a cell's parameters are: the plainest variant stands for its experiment. */
function oddity({ varied, experiment: { parameters } }: Cost): number {
  return Object.entries(parameters).reduce((sum, [name, { usual }]) => {
    const value = varied[name];
    if (usual === undefined || value === undefined || value === usual) return sum;
    return (
      sum + (typeof value === 'number' && typeof usual === 'number' ? Math.min(Math.abs(value - usual), 15) / 16 : 1)
    );
  }, 0);
}

/** The cells of the plainest variant of an experiment, by mechanism and lane: at most one cell for each size. */
export function plainest(cells: readonly Cost[]): readonly Cost[] {
  const best = new Map<string, Cost>();
  for (const cost of cells) {
    const key = JSON.stringify([cost.experiment.name, cost.mechanism, cost.lane, sizeOf(cost)]);
    const known = best.get(key);
    if (known === undefined || oddity(cost) < oddity(known)) best.set(key, cost);
  }
  return [...best.values()];
}

/** What the main picture, the first sentences and break-even are made of: one experiment's cells by image size. */
export interface Headline {
  readonly experiment: ExperimentContext | undefined;
  readonly cells: readonly Cost[];
}

/** The experiment that shows best what protecting the image costs by its size: the one with the most sizes. */
export function headlineOf(cells: readonly Cost[]): Headline {
  const sized = cells.filter((cost) => cost.experiment.headline !== undefined && sizeOf(cost) !== undefined);
  const sizes = (name: string): number =>
    new Set(sized.filter(({ experiment }) => experiment.name === name).map(sizeOf)).size;
  const [experiment] = [...experimentsOf(sized)].sort((a, b) => sizes(b.name) - sizes(a.name) || a.order - b.order);
  return {
    experiment,
    cells: plainest(sized.filter((cost) => cost.experiment.name === experiment?.name)),
  };
}
