/** How often whole applications cross into foreign code and back, and what that costs them. */
import { MECHANISMS } from '../../record/words.js';
import type { Ratio } from './baseline.js';
import { type Basis, columnOfRow, foundOf, measuring, numberFound } from './basis.js';
import type { Cost } from './costs.js';
import { WRPKRU_CYCLES } from './key-model.js';
import { inOrder } from './records.js';
import { type Cell, left, MISSING, ofMechanism, right, type Table, words } from './table.js';
import { describeCost } from './variation.js';

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
  readonly slowdowns: readonly { readonly cost: Cost; readonly ratio: Ratio | undefined }[];
}

/** One for each application, in the order in which they were measured. */
export function applicationRates(basis: Basis): readonly ApplicationRate[] {
  const cells = measuring(basis, 'applications').filter((cost) => columnOfRow(cost, 'application') !== undefined);
  return [...new Set(cells.map((cost) => String(columnOfRow(cost, 'application'))))].flatMap(
    (application): readonly ApplicationRate[] => {
      const rows = cells.filter((cost) => columnOfRow(cost, 'application') === application);
      const baseline = rows.find(({ mechanism }) => mechanism === 'none');
      if (baseline === undefined) return [];
      const [callouts, callbacks] = [numberFound(baseline, 'callouts'), numberFound(baseline, 'callbacks')];
      return [
        {
          application,
          unit: String(foundOf(baseline, 'unit') ?? 'one unit'),
          baseline,
          callouts,
          callbacks,
          reads: numberFound(baseline, 'reads'),
          calloutsPerSecond: (callouts * 1e9) / baseline.value,
          callbacksPerSecond: (callbacks * 1e9) / baseline.value,
          slowdowns: rows.filter((cost) => cost !== baseline).map((cost) => ({ cost, ratio: basis.ratios.get(cost) })),
        },
      ];
    },
  );
}

/** Crossings a second, what each mechanism does to the work; beside it, apart, what published latencies say of keys. */
export function ratesTable({ model }: Basis, rates: readonly ApplicationRate[]): Table {
  const mechanisms = inOrder(
    MECHANISMS,
    rates.flatMap(({ slowdowns }) => slowdowns.map(({ cost }) => cost.mechanism)),
  );
  const perSecond = (rate: number): Cell => (rate === 0 ? MISSING : { kind: 'figure', value: rate, unit: 'count' });
  const share = ({ callouts, callbacks, reads, baseline }: ApplicationRate, ns: number): number =>
    (((callouts + callbacks + reads) * ns) / baseline.value) * 100;
  return {
    id: 'rates',
    title: 'Callouts a second in whole applications, and what they cost the work',
    columns: [
      left('application'),
      left('one unit of it'),
      right('unguarded', 'ns'),
      right('callouts a second', 'count'),
      right('callbacks a second', 'count'),
      ...mechanisms.map((mechanism) => ofMechanism(mechanism)),
      ...(model === null ? [] : [ofMechanism('pkeys-model', 'keys add, model')]),
    ],
    rows: rates.map((rate) => ({
      cells: [
        words(rate.application),
        words(rate.unit),
        { kind: 'figure', value: rate.baseline.value, unit: rate.baseline.unit },
        perSecond(rate.calloutsPerSecond),
        perSecond(rate.callbacksPerSecond),
        ...mechanisms.map((mechanism): Cell => {
          const slowdown = rate.slowdowns.find(({ cost }) => cost.mechanism === mechanism);
          if (slowdown?.ratio === undefined) return MISSING;
          return { kind: 'figure', value: slowdown.ratio.ratio, unit: 'times', detail: describeCost(slowdown.cost) };
        }),
        ...(model === null
          ? []
          : [
              rate.callouts + rate.callbacks === 0
                ? MISSING
                : ({
                    kind: 'range',
                    low: share(rate, model.leastNs),
                    high: share(rate, model.mostNs),
                    unit: 'percent',
                  } as const),
            ]),
      ],
    })),
    notes:
      model === null || rates.length === 0
        ? []
        : [
            '“keys add, model”: two rights writes for each callout, each callback, and each guarded copy of ' +
              `what a callback reads, at ${WRPKRU_CYCLES.least} to ${WRPKRU_CYCLES.most} cycles, over the ` +
              'unguarded time. Computed, not measured.',
          ],
  };
}
