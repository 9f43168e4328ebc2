/** Numbers for charts: which cost records belong together, and what each says. Pure functions of a run. */
import type { CostRecord, Run } from '../../record/records.js';
import { median } from '../../record/statistics.js';
import { type Lane, LANES, type Mechanism, MECHANISMS } from '../../record/words.js';
import { bootstrapMedian, bootstrapRatio, type Interval, pairedRatio } from '../bootstrap.js';
import { formatBytes, formatCount, formatNs } from '../format.js';
import { costsOf, figureOf } from '../model.js';
import { type Spread, spreadOf } from '../spread.js';
import { ASSUMED_GHZ, WRPKRU_CYCLES } from './words.js';

type Value = number | string | boolean;

/**
 * Parameters that say how something was measured, or repeat another one; two records that differ only in them are of
 * one cell.
 */
const MEASURING: ReadonlySet<string> = new Set([
  'repeats',
  'round',
  'trial',
  'process',
  'order',
  'cpu',
  'seed',
  'callouts',
  'callbacks',
  'reads',
  'unit',
  'file',
  'reachedCycles',
]);

/** What a record varies, without how it was measured. `pages` is left out where `imageBytes` says the same. */
export function variation(record: CostRecord): Readonly<Record<string, Value>> {
  const { imageBytes, pages } = record.parameters;
  const same = typeof imageBytes === 'number' && typeof pages === 'number' && imageBytes === pages * 4096;
  return Object.fromEntries(
    Object.entries(record.parameters)
      .filter(([name]) => !MEASURING.has(name) && !(same && name === 'pages'))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Fewer give no interval. */
const LEAST_SAMPLES = 5;

/**
 * One cell of a cost table: all records of the same experiment, mechanism, lane and variation, their samples joined.
 */
export interface Cost {
  readonly experiment: string;
  readonly mechanism: Mechanism;
  readonly lane: Lane;
  readonly unit: 'ns' | 'instructions';
  readonly varied: Readonly<Record<string, Value>>;
  readonly samples: readonly number[];
  /** The median of times; of counts the least. */
  readonly value: number;
  /** 95 % bootstrap interval of the median; none for counts and for fewer than five samples. */
  readonly interval: Interval | null;
  readonly counts: CostRecord['counts'];
  readonly warnings: readonly string[];
  /** What was seen besides, over all processes. */
  readonly observed: CostRecord['observed'];
  /** Rows of one experiment and group were measured in the same rounds; undefined where the run does not say. */
  readonly group: number | undefined;
  /** Of times; null for counts. */
  readonly spread: Spread | null;
  /** What measuring found: parameters that do not make another cell of it. */
  readonly found: Readonly<Record<string, Value>>;
}

/** A cost set beside that of the same thing unguarded. */
export interface Ratio {
  readonly ratio: number;
  /** Null for counts: their spread is the timer's interrupts, not chance. */
  readonly interval: Interval | null;
  /** Sample by sample of the same rounds; else as two sets. */
  readonly paired: boolean;
  readonly baseline: Cost;
}

/** The key of a cell. */
export function costKey(cost: Pick<Cost, 'experiment' | 'mechanism' | 'lane' | 'varied'>): string {
  return JSON.stringify([cost.experiment, cost.mechanism, cost.lane, cost.varied]);
}

/** Runs do not change: what was computed of one holds. */
const known = new WeakMap<Run, readonly Cost[]>();

/** All cost records of a run as cells, in the order of experiments' names, lanes, and mechanisms. */
export function costs(run: Run): readonly Cost[] {
  const cells = known.get(run) ?? joinCosts(run);
  known.set(run, cells);
  return cells;
}

function joinCosts(run: Run): readonly Cost[] {
  const groups = new Map<string, CostRecord[]>();
  for (const record of costsOf(run)) {
    const key = costKey({ ...record, varied: variation(record) });
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [record]);
    else group.push(record);
  }
  const cells = [...groups.values()].flatMap((group): Cost[] => {
    const [first] = group;
    if (first === undefined) return [];
    const samples = group.flatMap((record) => record.samples);
    const value =
      first.unit === 'instructions'
        ? Math.min(...group.map(figureOf))
        : group.length === 1
          ? first.median
          : median(samples);
    return [
      {
        experiment: first.experiment,
        mechanism: first.mechanism,
        lane: first.lane,
        unit: first.unit,
        varied: variation(first),
        samples,
        value,
        interval: first.unit === 'ns' && samples.length >= LEAST_SAMPLES ? bootstrapMedian(samples) : null,
        counts: first.counts,
        warnings: [...new Set(group.flatMap((record) => record.warnings ?? []))],
        observed: first.observed,
        group: first.method?.group,
        spread: first.unit === 'ns' ? spreadOf(samples) : null,
        found: Object.fromEntries(Object.entries(first.parameters).filter(([name]) => MEASURING.has(name))),
      },
    ];
  });
  const size = (cost: Cost): number => sizeOf(cost) ?? 0;
  return cells.sort(
    (a, b) =>
      (a.experiment < b.experiment ? -1 : a.experiment > b.experiment ? 1 : 0) ||
      LANES.indexOf(a.lane) - LANES.indexOf(b.lane) ||
      MECHANISMS.indexOf(a.mechanism) - MECHANISMS.indexOf(b.mechanism) ||
      size(a) - size(b),
  );
}

/** In these a baseline may differ from what is set beside it. */
const FREE: ReadonlySet<string> = new Set([
  'imageBytes',
  'pages',
  'way',
  'by',
  'processors',
  'foreignStack',
  'floats',
  'cycles',
]);

/** Of an unguarded row: the thing itself, not another way of doing it. */
function isPlain({ varied: { way, by } }: Cost): boolean {
  return (way === undefined || way === 'raw call' || way === 'call') && (by === undefined || by === 'koffi');
}

/**
 * In these a row is whole work, not one operation: of its counted instructions, too, the reader wants to know how many
 * times the unguarded ones they are.
 */
const WHOLE_WORK: ReadonlySet<string> = new Set(['lua-programs']);

/**
 * The unguarded row that a cost is set beside, instructions beside instructions only; undefined where there is none,
 * and for that row itself.
 */
export function baselineOf(cost: Cost, all: readonly Cost[]): Cost | undefined {
  if (cost.mechanism === 'none' && isPlain(cost)) return undefined;
  if (cost.unit !== 'ns' && !WHOLE_WORK.has(cost.experiment)) return undefined;
  const lane = cost.unit === 'ns' ? 'native' : cost.lane;
  const fits = all.filter(
    (one) =>
      one.experiment === cost.experiment &&
      one.mechanism === 'none' &&
      one.lane === lane &&
      one.unit === cost.unit &&
      isPlain(one) &&
      Object.entries(one.varied).every(([name, value]) => FREE.has(name) || cost.varied[name] === value),
  );
  return fits.find((one) => sizeOf(one) === sizeOf(cost)) ?? fits[0];
}

const ratios = new WeakMap<Cost, Ratio | null>();

/** A cost over its baseline; null where there is none, or, of times, too few samples for an interval. */
export function ratioOf(cost: Cost, all: readonly Cost[]): Ratio | null {
  const before = ratios.get(cost);
  if (before !== undefined) return before;
  const baseline = baselineOf(cost, all);
  let found: Ratio | null = null;
  if (baseline !== undefined && baseline.value > 0 && cost.unit === 'instructions')
    found = { ratio: cost.value / baseline.value, interval: null, paired: false, baseline };
  else if (
    baseline !== undefined &&
    baseline.value > 0 &&
    cost.samples.length >= LEAST_SAMPLES &&
    baseline.samples.length >= LEAST_SAMPLES
  ) {
    const paired =
      baseline.group === cost.group &&
      baseline.samples.length === cost.samples.length &&
      baseline.samples.every((sample) => sample > 0);
    found = paired
      ? { ...pairedRatio(baseline.samples, cost.samples), paired, baseline }
      : {
          ratio: cost.value / baseline.value,
          interval: bootstrapRatio(baseline.samples, cost.samples, 500),
          paired,
          baseline,
        };
  }
  ratios.set(cost, found);
  return found;
}

/** A ratio as `×1.02`. */
export function timesText(ratio: number): string {
  return `×${ratio >= 10 ? formatCount(ratio) : ratio.toFixed(ratio < 1.995 ? 3 : 2)}`;
}

/** The image size of a cell, in bytes; undefined where it does not vary with it. */
export function sizeOf(cost: Pick<Cost, 'varied'>): number | undefined {
  const { imageBytes, pages } = cost.varied;
  return typeof imageBytes === 'number' ? imageBytes : typeof pages === 'number' ? pages * 4096 : undefined;
}

/** What a cell varies besides the named parameters, as a key and as words. */
export function variantOf(cost: Pick<Cost, 'varied'>, without: readonly string[] = ['imageBytes', 'pages']): string {
  const rank = (value: Value): number => (typeof value === 'string' ? 0 : typeof value === 'number' ? 1 : 2);
  return Object.entries(cost.varied)
    .filter(([name]) => !without.includes(name))
    .sort(([, a], [, b]) => rank(a) - rank(b))
    .map(([name, value]) => valueText(name, value))
    .join(', ');
}

/** A parameter in words: `touched` for true, `not touched` for false, sizes in KiB. */
export function valueText(name: string, value: Value): string {
  const words = name.replace(/Bytes$/, '').replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
  if (name === 'foreignStack') return value === true ? 'foreign stack' : "caller's stack";
  if (typeof value === 'boolean') return value ? words : `not ${words}`;
  if (typeof value === 'number' && /^(arguments|threads|processors|cycles|spaces)$/.test(name))
    return `${formatCount(value)} ${value === 1 ? words.replace(/s$/, '') : words}`;
  if (typeof value === 'number') return `${words} ${name.endsWith('Bytes') ? formatBytes(value) : formatCount(value)}`;
  return /^(signature|application|way|by|call|part|variant|function|what|work|access|scenario|kind|name|program|vm)$/.test(
    name,
  )
    ? value
    : `${words} ${value}`;
}

/**
 * Unlike what one would expect first: untouched or huge pages, many spaces. The plainest variant stands for the
 * experiment.
 */
function oddity(cost: Cost): number {
  const { touched, huge, pageBytes, spaces, arguments: count, foreignStack } = cost.varied;
  return (
    (touched === false ? 8 : 0) +
    (huge === true || (typeof pageBytes === 'number' && pageBytes !== 4096) ? 8 : 0) +
    (typeof spaces === 'number' ? Math.min(spaces, 15) / 16 : 0) +
    (typeof count === 'number' ? count / 16 : 0) +
    (foreignStack === false ? 4 : 0)
  );
}

/** The cells of the plainest variant of an experiment, by mechanism and lane: at most one cell for each size. */
export function plainest(cells: readonly Cost[]): readonly Cost[] {
  const best = new Map<string, Cost>();
  for (const cost of cells) {
    const key = JSON.stringify([cost.experiment, cost.mechanism, cost.lane, sizeOf(cost)]);
    const plainer = best.get(key);
    if (plainer === undefined || oddity(cost) < oddity(plainer)) best.set(key, cost);
  }
  return [...best.values()];
}

/** The experiment that shows best what protecting the image costs by its size: the one with the most sizes. */
export function protectingExperiment(cells: readonly Cost[]): string | undefined {
  const sizes = (experiment: string): number =>
    new Set(cells.filter((cost) => cost.experiment === experiment).map(sizeOf)).size;
  const usable = ['callout', 'flip'].filter((experiment) =>
    cells.some((cost) => cost.experiment === experiment && sizeOf(cost) !== undefined),
  );
  return usable.sort((a, b) => sizes(b) - sizes(a))[0];
}

/** All cells of an experiment in one lane: variations by mechanisms. */
export interface Grid {
  /** Names of what is varied. */
  readonly names: readonly string[];
  readonly mechanisms: readonly Mechanism[];
  readonly rows: readonly {
    readonly values: readonly (Value | undefined)[];
    readonly cells: readonly (Cost | undefined)[];
  }[];
}

/** Makes it; rows in the order of their values. */
export function gridOf(cells: readonly Cost[], lane: Lane): Grid {
  const here = cells.filter((cost) => cost.lane === lane);
  const mechanisms = MECHANISMS.filter((mechanism) => here.some((cost) => cost.mechanism === mechanism));
  const names = [...new Set(here.flatMap((cost) => Object.keys(cost.varied)))];
  const order = (a: Cost, b: Cost): number => {
    for (const name of names) {
      const [one, other] = [a.varied[name], b.varied[name]];
      if (one === other) continue;
      return typeof one === 'number' && typeof other === 'number' ? one - other : String(one) < String(other) ? -1 : 1;
    }
    return 0;
  };
  const rows = new Map<string, Cost[]>();
  for (const cost of [...here].sort(order)) {
    const key = JSON.stringify(names.map((name) => cost.varied[name] ?? null));
    const row = rows.get(key);
    if (row === undefined) rows.set(key, [cost]);
    else row.push(cost);
  }
  return {
    names,
    mechanisms,
    rows: [...rows.values()].map((row) => ({
      values: names.map((name) => row[0]?.varied[name]),
      cells: mechanisms.map((mechanism) => row.find((one) => one.mechanism === mechanism)),
    })),
  };
}

/** A varied value alone, under its name in a table's head. */
export function plainValue(name: string, value: Value | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'number' ? (name.endsWith('Bytes') ? formatBytes(value) : formatCount(value)) : value;
}

/** A parameter's name in words. */
export function nameText(name: string): string {
  return name.replace(/Bytes$/, '').replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** A cost with its unit. Never a time where instructions were counted. */
export function valueOf(cost: Pick<Cost, 'unit'>, value: number): string {
  return cost.unit === 'ns' ? formatNs(value) : `${formatCount(value)} instr.`;
}

/** Events beside a count: `[WRPKRU / RDPKRU / system calls / faults]`; empty for times, whose counted row has them. */
export function eventsText({ unit, counts }: Pick<Cost, 'unit' | 'counts'>): string {
  return unit === 'ns' || counts === undefined
    ? ''
    : `[${counts.wrpkru} / ${counts.rdpkru} / ${formatCount(counts.syscalls)} / ${counts.faults}]`;
}

/** What the events' brackets hold. */
export const EVENTS_NOTE = '[WRPKRU / RDPKRU / system calls / faults] of one operation';

/**
 * A cell in a sentence: mechanism, variation, value, interval, samples, lane and events. For hover, focus and screen
 * readers.
 */
export function describeCost(cost: Cost): string {
  const varied = Object.entries(cost.varied)
    .map(([name, value]) => (name === 'imageBytes' ? `image ${formatBytes(Number(value))}` : valueText(name, value)))
    .join(', ');
  const interval =
    cost.interval === null
      ? ''
      : ` (95 % interval ${valueOf(cost, cost.interval.low)} to ` +
        `${valueOf(cost, cost.interval.high)}${cost.spread === null ? '' : `, MAD ${valueOf(cost, cost.spread.mad)}`}, ` +
        `${cost.samples.length} samples${outlierCount(cost)})`;
  const counts =
    cost.counts === undefined
      ? ''
      : `; ${cost.counts.wrpkru} WRPKRU, ${cost.counts.syscalls} system calls, ${cost.counts.faults} faults`;
  const value = cost.unit === 'ns' ? formatNs(cost.value) : `${formatCount(cost.value)} instructions`;
  return `${cost.mechanism}${varied === '' ? '' : `, ${varied}`}: ${value}${interval}, ${cost.lane} lane${counts}`;
}

function outlierCount({ spread }: Cost): string {
  const count = spread?.outliers.length ?? 0;
  return count === 0 ? '' : `, ${count} ${count === 1 ? 'outlier' : 'outliers'}`;
}

/** What a pair of rights writes would cost on a CPU with keys, by published latencies: a model. */
export interface KeyModel {
  readonly leastNs: number;
  readonly mostNs: number;
  readonly ghz: number;
  /** The frequency is an assumption, the CPU's name does not tell it. */
  readonly assumed: boolean;
}

/** The model for this run; null where the native lane has keys, and so has real times. */
export function keyModel(run: Run): KeyModel | null {
  if (costsOf(run).some((record) => record.lane === 'native' && record.mechanism.startsWith('pkeys'))) return null;
  if (run.context.lanes.some((lane) => lane.lane === 'native' && lane.keys)) return null;
  const told = Number(/@ *([\d.]+) *GHz/i.exec(run.context.host.cpu)?.[1]);
  const assumed = !(told > 0);
  const ghz = assumed ? ASSUMED_GHZ : told;
  return { leastNs: (2 * WRPKRU_CYCLES.least) / ghz, mostNs: (2 * WRPKRU_CYCLES.most) / ghz, ghz, assumed };
}
