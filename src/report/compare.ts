/**
 * Two runs side by side: two machines, two commits, or the same twice. Which verdicts changed, which costs differ, and
 * which of those differences are real. Pure functions of the runs.
 *
 * A time differs for real where the 95 % bootstrap interval of the ratio of medians leaves out 1 and the ratio is
 * further from 1 than a threshold. Of a hundred comparisons of equal things, five intervals leave out 1 by chance.
 * Processes differ from one another by more than samples within one do. A count differs for real where it is outside of
 * what repeats of the same binaries give. User-mode rows repeat exactly, kernel rows within 2 %, and rows with signals
 * or split mappings within 6 %.
 */
import Table3 from 'cli-table3';

import type { HonestRecord, Run } from '../record/records.js';
import { bootstrapRatio, type Interval } from './findings/bootstrap.js';
import { type Cost, costCells, costKey, LEAST_SAMPLES } from './findings/costs.js';
import { columnOf, corruptionOf, honestOf, outcomeText, skippedOf, toneOf } from './findings/records.js';
import { valueOf, variantOf } from './findings/variation.js';

/** By how much a count may differ without meaning anything. */
export const COUNT_TOLERANCE = { userInstructions: 0.5, kernel: 0.02, signals: 0.06 } as const;
/** The threshold for times where none is given. */
export const DEFAULT_THRESHOLD = 0.05;

export type Change = 'better' | 'worse' | 'other';

/** A cost in both runs. */
export interface CostComparison {
  readonly a: Cost;
  readonly b: Cost;
  /** b's figure over a's. */
  readonly ratio: number;
  /** 95 % interval of the ratio; null for counts and where there are too few samples. */
  readonly interval: Interval | null;
  readonly real: boolean;
  /** Which way a real difference goes: `worse` costs more. */
  readonly change: Change;
  /** How it was decided. */
  readonly rule: string;
}

/** A verdict or an outcome that is not the same in both. */
export interface OutcomeChange {
  readonly what: string;
  readonly a: string;
  readonly b: string;
  readonly change: Change;
}

export interface Comparison {
  readonly context: readonly { readonly name: string; readonly a: string; readonly b: string }[];
  readonly outcomes: readonly OutcomeChange[];
  readonly outcomesCompared: number;
  readonly costs: readonly CostComparison[];
  /** What only one of them has. */
  readonly onlyA: readonly string[];
  readonly onlyB: readonly string[];
  readonly threshold: number;
}

function compareCounts(a: Cost, b: Cost): Pick<CostComparison, 'real' | 'rule'> {
  const counts = a.counts ?? b.counts;
  if (counts?.syscalls === 0 && counts.faults === 0) {
    return { real: Math.abs(b.value - a.value) >= COUNT_TOLERANCE.userInstructions, rule: 'user mode: exactly' };
  }
  const signals = counts === undefined || counts.faults > 0 || a.mechanism === 'mprotect-page';
  const tolerance = signals ? COUNT_TOLERANCE.signals : COUNT_TOLERANCE.kernel;
  return {
    real: Math.abs(b.value / a.value - 1) > tolerance,
    rule: `${signals ? 'signals or split mappings' : 'kernel'}: within ${tolerance * 100} %`,
  };
}

/** One cost in both runs. `threshold` is a fraction: 0.05 is 5 %. */
export function compareCost(a: Cost, b: Cost, threshold: number): CostComparison {
  const ratio = a.value === b.value ? 1 : b.value / a.value;
  const change: Change = ratio > 1 ? 'worse' : 'better';
  if (a.unit === 'instructions') return { a, b, ratio, interval: null, change, ...compareCounts(a, b) };
  if (a.samples.length < LEAST_SAMPLES || b.samples.length < LEAST_SAMPLES)
    return { a, b, ratio, interval: null, change, real: false, rule: `fewer than ${LEAST_SAMPLES} samples` };
  const interval = bootstrapRatio(a.samples, b.samples);
  const apart = interval.low > 1 || interval.high < 1;
  return {
    a,
    b,
    ratio,
    interval,
    change,
    real: apart && Math.abs(ratio - 1) > threshold,
    rule: `95 % interval, and more than ${Math.round(threshold * 1000) / 10} %`,
  };
}

function outcomeOf(record: HonestRecord): string {
  return record.outcome === 'reference' ? 'same' : record.outcome;
}

function outcomes(run: Run): ReadonlyMap<string, { readonly text: string; readonly good: boolean }> {
  const found = new Map<string, { text: string; good: boolean }>();
  for (const record of corruptionOf(run))
    found.set(`${record.case}, ${columnOf(record)}, ${record.lane}`, {
      text: outcomeText(record),
      good: toneOf(record) === 'good',
    });
  for (const record of honestOf(run)) {
    found.set(`honest ${record.case}, ${record.mechanism}, ${record.lane}`, {
      text: outcomeOf(record) + (record.imageEqual === false ? ', image differs' : ''),
      good: outcomeOf(record) === 'same' && record.imageEqual !== false,
    });
  }
  for (const record of skippedOf(run))
    found.set(`${record.of} ${record.name}, ${record.mechanism}, ${record.lane}`, {
      text: record.broken === true ? 'could not be tried' : 'skipped',
      good: record.broken !== true,
    });
  return found;
}

function nameOf(cost: Cost): string {
  return [cost.experiment.name, variantOf(cost, []), cost.mechanism, cost.lane]
    .filter((part) => part !== '')
    .join(', ');
}

const byKey = (run: Run): ReadonlyMap<string, Cost> =>
  new Map(costCells(run).map((cost) => [costKey(cost, cost.experiment.name), cost]));

/** Compares two runs. `threshold` is the least difference of times that counts, as a fraction. */
export function compareRuns(a: Run, b: Run, threshold: number = DEFAULT_THRESHOLD): Comparison {
  const facts = (run: Run): ReadonlyMap<string, string> =>
    new Map([
      ['started', run.context.started],
      ['commit', run.context.commit ?? 'not in a repository'],
      ['CPU', run.context.host.cpu],
      ['kernel', run.context.host.kernel],
      ...run.context.lanes.map((lane): [string, string] => [
        `${lane.lane} lane`,
        `Linux ${lane.kernel}, ${lane.keys ? 'keys' : 'no keys'}`,
      ]),
      ...Object.entries(run.context.versions),
      ['seed', String(run.context.seed)],
      ['quick', run.context.quick ? 'yes' : 'no'],
    ]);
  const [factsA, factsB] = [facts(a), facts(b)];
  const context = [...new Set([...factsA.keys(), ...factsB.keys()])]
    .map((name) => ({ name, a: factsA.get(name) ?? '-', b: factsB.get(name) ?? '-' }))
    .filter((row) => row.a !== row.b);
  const [outcomesA, outcomesB] = [outcomes(a), outcomes(b)];
  const both = [...outcomesA].filter(([what]) => outcomesB.has(what));
  const changed = both.flatMap(([what, before]): OutcomeChange[] => {
    const after = outcomesB.get(what);
    if (after === undefined || after.text === before.text) return [];
    return [
      {
        what,
        a: before.text,
        b: after.text,
        change: before.good === after.good ? 'other' : after.good ? 'better' : 'worse',
      },
    ];
  });
  const costsB = byKey(b);
  const costsA = byKey(a);
  const compared = [...costsA].flatMap(([key, cost]): CostComparison[] => {
    const other = costsB.get(key);
    return other === undefined ? [] : [compareCost(cost, other, threshold)];
  });
  const only = (have: ReadonlyMap<string, unknown>, lack: ReadonlyMap<string, unknown>): readonly string[] =>
    [...have.keys()].filter((key) => !lack.has(key));
  const named = (keys: readonly string[], from: ReadonlyMap<string, Cost>): readonly string[] =>
    keys.flatMap((key) => {
      const cost = from.get(key);
      return cost === undefined ? [] : [nameOf(cost)];
    });
  return {
    context,
    outcomes: changed,
    outcomesCompared: both.length,
    costs: compared,
    threshold,
    onlyA: [...only(outcomesA, outcomesB), ...named(only(costsA, costsB), costsA)],
    onlyB: [...only(outcomesB, outcomesA), ...named(only(costsB, costsA), costsB)],
  };
}

/** Whether B is worse than A in anything, for CI. */
export function isWorse(comparison: Comparison): boolean {
  return (
    comparison.outcomes.some(({ change }) => change === 'worse') ||
    comparison.costs.some(({ real, change }) => real && change === 'worse')
  );
}

/** Whether anything differs for real. */
export function differs(comparison: Comparison): boolean {
  return comparison.outcomes.length > 0 || comparison.costs.some(({ real }) => real);
}

function listed(title: string, names: readonly string[]): readonly string[] {
  if (names.length === 0) return [];
  return [`${title} (${names.length}): ${names.slice(0, 8).join('; ')}${names.length > 8 ? '; …' : ''}`];
}

/** The comparison as text. `all`: also the costs that do not differ. */
export function renderComparison(comparison: Comparison, options: { readonly all: boolean }): string {
  const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
    const drawn = new Table3({ head: [...head], style: { head: [], border: [], compact: true } });
    drawn.push(...rows.map((row) => [...row]));
    return drawn.toString();
  };
  const parts: string[] = [];
  if (comparison.context.length > 0)
    parts.push(
      'Not the same',
      table(
        ['what', 'A', 'B'],
        comparison.context.map(({ name, a, b }) => [name, a, b]),
      ),
    );
  parts.push(`Outcomes: ${comparison.outcomesCompared} compared, ${comparison.outcomes.length} changed`);
  if (comparison.outcomes.length > 0)
    parts.push(
      table(
        ['what', 'A', 'B', ''],
        comparison.outcomes.map(({ what, a, b, change }) => [what, a, b, change === 'other' ? '' : change]),
      ),
    );
  const real = comparison.costs.filter((cost) => cost.real);
  parts.push(`Costs: ${comparison.costs.length} compared, ${real.length} differ for real`);
  const shown = options.all ? comparison.costs : real;
  if (shown.length > 0) {
    parts.push(
      table(
        ['what', 'A', 'B', 'B / A', '95 % interval', '', 'by'],
        shown.map((cost) => [
          nameOf(cost.a),
          valueOf(cost.a, cost.a.value),
          valueOf(cost.b, cost.b.value),
          cost.ratio.toFixed(3),
          cost.interval === null ? '' : `${cost.interval.low.toFixed(3)} to ${cost.interval.high.toFixed(3)}`,
          cost.real ? cost.change : 'same',
          cost.rule,
        ]),
      ),
    );
  }
  parts.push(...listed('Only in A', comparison.onlyA), ...listed('Only in B', comparison.onlyB));
  parts.push(
    isWorse(comparison)
      ? 'B is worse than A.'
      : differs(comparison)
        ? 'B differs from A, and is in nothing worse.'
        : 'No real difference.',
  );
  return parts.join('\n');
}
