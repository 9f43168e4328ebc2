/**
 * What a report works out from measured parts: the ladder, break-even rates, straight lines, where a fault's time goes,
 * what keys would add. Pure functions of a run.
 */
import { linearRegression, linearRegressionLine, rSquared } from 'simple-statistics';

import type { Run } from '../record/records.js';
import { type Lane, LANES, type Mechanism } from '../record/words.js';
import { type Interval, pairedRatio } from './bootstrap.js';
import {
  type Cost,
  costs,
  keyModel,
  plainest,
  protectingExperiment,
  type Ratio,
  ratioOf,
  sizeOf,
  variantOf,
} from './html/figures.js';

/** A rung: a way of making, guarding or losing one call. */
export interface Rung {
  readonly label: string;
  readonly cost: Cost;
}

/** The words of a rung; undefined for rows that are none. */
function rungLabel({ experiment, mechanism, varied }: Cost): string | undefined {
  const { way, by, signature, part, occurrence, processors, bufferBytes } = varied;
  switch (experiment) {
    case 'gate':
      return way === 'guarded' || way === undefined ? `guarded call in C, ${mechanism}` : `${String(way)} in C`;
    case 'callout':
      return mechanism === 'none' ? undefined : `callout in C, ${mechanism}`;
    case 'callout-koffi':
      if (signature !== 'int(int, int)') return undefined;
      return by === 'guard'
        ? mechanism === 'none'
          ? undefined
          : `callout by koffi, ${mechanism}`
        : `${by === 'koffi' ? 'koffi alone' : 'N-API function'}, from JavaScript`;
    case 'fault':
      return (part === undefined || part === 'whole') && occurrence === undefined
        ? `failed callout in C, ${mechanism}`
        : undefined;
    case 'alternatives':
      if (way === 'call' || (typeof bufferBytes === 'number' && bufferBytes > 0)) return undefined;
      return `${String(way)}${processors === undefined ? '' : processors === 1 ? ', one processor' : ', two processors'}`;
    default:
      return undefined;
  }
}

/**
 * From a raw call up, one ladder for each lane that has two rungs: the plainest variation over the largest image that
 * every rung with an image has.
 */
export function ladders(run: Run): readonly { readonly lane: Lane; readonly rungs: readonly Rung[] }[] {
  const all = costs(run).filter((cost) => cost.value > 0);
  return (['native', 'emulated'] as const).flatMap((lane) => {
    const byLabel = new Map<string, Cost[]>();
    for (const cost of all.filter((one) => one.lane === lane)) {
      const label = rungLabel(cost);
      if (label === undefined) continue;
      const known = byLabel.get(label);
      if (known === undefined) byLabel.set(label, [cost]);
      else known.push(cost);
    }
    const plain = [...byLabel].map(([label, list]) => [label, plainest(list)] as const);
    const most = Math.min(
      ...plain.flatMap(([, list]) => {
        const sizes = list.flatMap((cost) => sizeOf(cost) ?? []);
        return sizes.length === 0 ? [] : [Math.max(...sizes)];
      }),
    );
    const rungs = plain
      .flatMap(([label, list]): Rung[] => {
        const best = list
          .filter((cost) => (sizeOf(cost) ?? 0) <= most)
          .sort((a, b) => (sizeOf(b) ?? 0) - (sizeOf(a) ?? 0))[0];
        return best === undefined ? [] : [{ label, cost: best }];
      })
      .sort((a, b) => a.cost.value - b.cost.value);
    return rungs.length < 2 ? [] : [{ lane, rungs }];
  });
}

/** What a mechanism adds to one callout over an image. */
export interface Added {
  readonly cost: Cost;
  readonly mechanism: Mechanism;
  readonly sizeBytes: number;
  readonly ns: number;
}

/**
 * What each mechanism adds to a callout, by image size, from the native rows of the experiment that has most sizes: its
 * cost less that of the raw call. A rate of r callouts a second then takes r * ns / 1e7 per cent of a processor.
 */
export function addedPerCallout(run: Run): readonly Added[] {
  const all = costs(run);
  const experiment = protectingExperiment(all);
  const cells = plainest(
    all.filter((cost) => cost.experiment === experiment && cost.lane === 'native' && sizeOf(cost) !== undefined),
  );
  const base = (size: number): number =>
    cells.find((cost) => cost.mechanism === 'none' && sizeOf(cost) === size)?.value ?? 0;
  return cells
    .filter((cost) => cost.mechanism !== 'none')
    .map((cost): Added => {
      const sizeBytes = sizeOf(cost) ?? 0;
      return { cost, mechanism: cost.mechanism, sizeBytes, ns: cost.value - base(sizeBytes) };
    })
    .filter(({ ns }) => ns > 0);
}

/** Callouts a second that take `percent` per cent of a processor at `ns` each. */
export function rateAt(ns: number, percent = 1): number {
  return (percent * 1e7) / ns;
}

/** A straight line through costs by pages of 4 KiB: what there is without any, what each adds. */
export interface Fit {
  readonly first: Cost;
  readonly variant: string;
  readonly intercept: number;
  readonly perPage: number;
  /** Undefined where all values are the same. */
  readonly rSquared: number | undefined;
}

/** Fits by least squares, weighted by nothing; at least four sizes. */
export function fitsOf(cells: readonly Cost[]): readonly Fit[] {
  const groups = new Map<string, Cost[]>();
  for (const cost of cells) {
    if (sizeOf(cost) === undefined) continue;
    const key = JSON.stringify([cost.lane, cost.mechanism, variantOf(cost)]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [cost]);
    else group.push(cost);
  }
  return [...groups.values()].flatMap((group): readonly Fit[] => {
    const [first] = group;
    if (first === undefined || new Set(group.map(sizeOf)).size < 4) return [];
    const points = group.map((cost): [number, number] => [(sizeOf(cost) ?? 0) / 4096, cost.value]);
    const { m, b } = linearRegression(points);
    const constant = new Set(points.map(([, y]) => y)).size === 1;
    return [
      {
        first,
        variant: variantOf(first),
        intercept: b,
        perPage: m,
        rSquared: constant ? undefined : rSquared(points, linearRegressionLine({ m, b })),
      },
    ];
  });
}

/** A part of a failed callout's time. */
export interface FaultPart {
  readonly name: string;
  readonly value: number;
}

/** Where the time of a failed callout goes, for one mechanism in one lane. */
export interface FaultTimeline {
  readonly lane: Lane;
  readonly unit: Cost['unit'];
  readonly mechanism: Mechanism;
  /** 'first' in its process, or one of many. */
  readonly occurrence: 'first' | 'later';
  readonly parts: readonly FaultPart[];
  readonly whole: number;
}

/** The parts are differences of rows measured in the same rounds; one that comes out below zero is shown as zero. */
export function faultTimelines(run: Run): readonly FaultTimeline[] {
  const all = costs(run).filter(({ experiment }) => experiment === 'fault');
  const find = (lane: Lane, mechanism: Mechanism, part: string, first: boolean): Cost | undefined =>
    plainest(
      all.filter(
        (cost) =>
          cost.lane === lane &&
          cost.mechanism === mechanism &&
          cost.varied['part'] === part &&
          (cost.varied['occurrence'] === 'first') === first,
      ),
    ).reduce<Cost | undefined>(
      (least, cost) => (least === undefined || (sizeOf(cost) ?? 0) < (sizeOf(least) ?? 0) ? cost : least),
      undefined,
    );
  const javascript = (lane: Lane, mechanism: Mechanism, first: boolean): Cost | undefined =>
    costs(run).find(
      (cost) =>
        cost.experiment === 'fault-javascript' &&
        cost.lane === lane &&
        cost.mechanism === mechanism &&
        (cost.varied['occurrence'] === 'first') === first &&
        (cost.varied['part'] === undefined || cost.varied['part'] === 'whole'),
    );
  const mechanisms = [...new Set(all.map(({ mechanism }) => mechanism))];
  return LANES.flatMap((lane) =>
    mechanisms.flatMap((mechanism) =>
      ([false, true] as const).flatMap((first): readonly FaultTimeline[] => {
        const [whole, delivery] = [find(lane, mechanism, 'whole', first), find(lane, mechanism, 'delivery', first)];
        const gate = find(lane, mechanism, 'gate', false);
        if (whole === undefined || delivery === undefined || gate === undefined) return [];
        const caught = javascript(lane, mechanism, first);
        const parts = [
          { name: 'gate and mechanism', value: gate.value },
          { name: 'kernel: delivery and return', value: delivery.value },
          { name: 'handler and recovery', value: Math.max(0, whole.value - delivery.value - gate.value) },
          ...(caught === undefined
            ? []
            : [{ name: 'JavaScript: koffi and CalloutError', value: Math.max(0, caught.value - whole.value) }]),
        ];
        return [
          {
            lane,
            unit: whole.unit,
            mechanism,
            occurrence: first ? 'first' : 'later',
            parts,
            whole: parts.reduce((sum, { value }) => sum + value, 0),
          },
        ];
      }),
    ),
  );
}

/**
 * A callout from JavaScript under keys, where the CPU has none: what is known of it. Nothing from JavaScript is
 * counted.
 */
export interface KoffiKeys {
  readonly signature: string;
  /** Measured. */
  readonly flag: Cost;
  /** Two for a callout, two more for a callback during it. */
  readonly rightsWrites: number;
  /**
   * Counted in C: instructions of a callout under keys less those under the trap alone; null for a call with a
   * callback, which was not counted.
   */
  readonly moreInstructions: number | null;
  /** The rights writes by published latencies, in ns: a model. */
  readonly model: { readonly leastNs: number; readonly mostNs: number } | null;
}

/** One for each call of callout-koffi; empty where keys were measured, or nothing was counted. */
export function koffiKeys(run: Run): readonly KoffiKeys[] {
  const all = costs(run);
  if (all.some((cost) => cost.experiment === 'callout-koffi' && cost.mechanism === 'pkeys')) return [];
  const counted = (mechanism: Mechanism): Cost | undefined =>
    plainest(
      all.filter((cost) => cost.experiment === 'callout' && cost.lane === 'emulated' && cost.mechanism === mechanism),
    )[0];
  const [flag, keys] = [counted('flag'), counted('pkeys')];
  if (flag === undefined || keys === undefined) return [];
  const seen = new Set<string>();
  return all
    .filter((cost) => cost.experiment === 'callout-koffi' && cost.mechanism === 'flag')
    .flatMap((cost): readonly KoffiKeys[] => {
      const signature = String(cost.varied['signature']);
      if (seen.has(signature)) return [];
      seen.add(signature);
      const pairs = signature.includes('callback') ? 2 : 1;
      const model = keyModel(run);
      return [
        {
          signature,
          flag: cost,
          rightsWrites: 2 * pairs,
          moreInstructions: pairs > 1 ? null : keys.value - flag.value,
          model: model === null ? null : { leastNs: pairs * model.leastNs, mostNs: pairs * model.mostNs },
        },
      ];
    });
}

/** How often an application crosses into foreign code and back, and what that costs it. */
export interface ApplicationRate {
  readonly application: string;
  /** What one unit of its work is. */
  readonly unit: string;
  readonly baseline: Cost;
  readonly callouts: number;
  readonly callbacks: number;
  /** Guarded copies of what callbacks read. */
  readonly reads: number;
  /** Unguarded, in a second. */
  readonly calloutsPerSecond: number;
  readonly callbacksPerSecond: number;
  readonly slowdowns: readonly { readonly cost: Cost; readonly ratio: Ratio | null }[];
}

/**
 * One for each application of an experiment ('applications' or 'model-run'), in the order in which they were measured.
 */
export function applicationRates(run: Run, experiment: string): readonly ApplicationRate[] {
  const all = costs(run);
  const cells = all.filter((cost) => cost.experiment === experiment && cost.varied['application'] !== undefined);
  return [...new Set(cells.map((cost) => String(cost.varied['application'])))].flatMap(
    (application): readonly ApplicationRate[] => {
      const here = cells.filter((cost) => cost.varied['application'] === application);
      const baseline = here.find((cost) => cost.mechanism === 'none');
      if (baseline === undefined) return [];
      const number = (name: string): number => Number(baseline.found[name] ?? 0);
      return [
        {
          application,
          unit: String(baseline.found['unit'] ?? 'one unit'),
          baseline,
          callouts: number('callouts'),
          callbacks: number('callbacks'),
          reads: number('reads'),
          calloutsPerSecond: (number('callouts') * 1e9) / baseline.value,
          callbacksPerSecond: (number('callbacks') * 1e9) / baseline.value,
          slowdowns: here.filter((cost) => cost !== baseline).map((cost) => ({ cost, ratio: ratioOf(cost, all) })),
        },
      ];
    },
  );
}

/** What the model's rights writes add to an application that has the trap already. */
export interface ModelStep {
  readonly application: string;
  /** Asked for, and what the calibration of the first process reached. */
  readonly cycles: number;
  readonly reachedCycles: number;
  readonly cost: Cost;
  /** Over the same work under `flag`, by pairs. */
  readonly overFlag: { readonly ratio: number; readonly interval: Interval };
}

/** One for each application and length of delay of `model-run`; lane `model`. */
export function modelSteps(run: Run): readonly ModelStep[] {
  const cells = costs(run).filter(({ experiment }) => experiment === 'model-run');
  return cells
    .filter(({ mechanism }) => mechanism === 'pkeys-model')
    .flatMap((cost): readonly ModelStep[] => {
      const flag = cells.find(
        (one) => one.mechanism === 'flag' && one.varied['application'] === cost.varied['application'],
      );
      if (flag?.samples.length !== cost.samples.length) return [];
      return [
        {
          application: String(cost.varied['application']),
          cycles: Number(cost.varied['cycles']),
          reachedCycles: Number(cost.found['reachedCycles'] ?? cost.varied['cycles']),
          cost,
          overFlag: pairedRatio(flag.samples, cost.samples),
        },
      ];
    });
}

/** What a part of the gate adds: the difference of two rows. */
export interface GatePart {
  readonly lane: Lane;
  readonly unit: Cost['unit'];
  readonly part: string;
  readonly value: number;
}

/**
 * The parts of the gate by the rows of the experiment `gate`, each as a difference; those that the run has rows for.
 */
export function gateParts(run: Run): readonly GatePart[] {
  const cells = costs(run).filter(({ experiment }) => experiment === 'gate');
  return LANES.flatMap((lane): readonly GatePart[] => {
    const here = cells.filter((cost) => cost.lane === lane);
    const raw = (count: number): number | undefined =>
      here.find(({ varied }) => varied['way'] === 'raw call' && varied['arguments'] === count)?.value;
    const way = (name: string): number | undefined =>
      here.find(({ varied }) => varied['way'] === name && varied['arguments'] === 0)?.value;
    const gate = (mechanism: Mechanism, count: number, foreignStack: boolean, floats?: true): number | undefined =>
      here.find(
        ({ mechanism: one, varied }) =>
          one === mechanism &&
          varied['way'] === 'guarded' &&
          varied['arguments'] === count &&
          varied['foreignStack'] === foreignStack &&
          varied['floats'] === floats,
      )?.value;
    const less = (a: number | undefined, b: number | undefined): number | undefined =>
      a === undefined || b === undefined ? undefined : a - b;
    const parts: readonly (readonly [string, number | undefined])[] = [
      [
        'trap: armed, on a foreign stack, all saved and put back (flag over a raw call)',
        less(gate('flag', 0, true), raw(0)),
      ],
      ['of that, the foreign stack', less(gate('flag', 0, true), gate('flag', 0, false))],
      ['rights down and back (pkeys over flag)', less(gate('pkeys', 0, true), gate('flag', 0, true))],
      [
        "the same by glibc's pkey_set beside the gate (pkeys-glibc over flag)",
        less(gate('pkeys-glibc', 0, true), gate('flag', 0, true)),
      ],
      ['floating-point environment, where asked for', less(gate('flag', 6, true, true), gate('flag', 6, true))],
      [
        'six arguments on the stack, copied',
        less(less(gate('flag', 12, true), gate('flag', 6, true)), less(raw(12), raw(6))),
      ],
      ['for comparison: sigsetjmp(buf, 0)', less(way('sigsetjmp(buf, 0)'), raw(0))],
      ['for comparison: sigsetjmp(buf, 1), with the signal mask', less(way('sigsetjmp(buf, 1)'), raw(0))],
    ];
    return parts.flatMap(([part, value]) =>
      value === undefined ? [] : [{ lane, unit: here[0]?.unit ?? 'ns', part, value }],
    );
  });
}

/** What other threads suffered while one made callouts, over all windows of a row. */
export interface Suffered {
  readonly cost: Cost;
  readonly threads: number;
  readonly work: string;
  readonly faults: number;
  readonly waitedNs: number;
  readonly windows: number;
}

/**
 * Of the rows of `threads` that tell: those of the others' operations. Of `lua-threads`, those with the other state
 * there.
 */
export function suffered(run: Run, of: 'threads' | 'lua-threads'): readonly Suffered[] {
  return costs(run)
    .filter(
      ({ experiment, observed, varied }) =>
        experiment === of &&
        observed !== undefined &&
        varied['what'] !== 'callout meanwhile' &&
        varied['otherState'] !== 'idle',
    )
    .map((cost): Suffered => {
      const seen = (pattern: RegExp): number =>
        Object.entries(cost.observed ?? {}).find(([name]) => pattern.test(name))?.[1] ?? 0;
      return {
        cost,
        threads: Number(cost.varied['threads'] ?? 1),
        work: String(cost.varied['work'] ?? `${String(cost.varied['vm'] ?? '')} allocates`),
        faults: seen(/faults/i),
        waitedNs: seen(/waited/i),
        windows: seen(/windows/i),
      };
    });
}
