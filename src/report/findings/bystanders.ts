/** What other threads suffered while one made callouts. */
import { type Basis, columnOfRow, isRow, measuring, observedOf } from './basis.js';
import type { Cost } from './costs.js';
import { left, right, type Table, words } from './table.js';

/** Over all windows of a row. */
export interface Suffered {
  readonly cost: Cost;
  readonly threads: number;
  readonly work: string;
  readonly faults: number;
  readonly waitedNs: number;
  readonly windows: number;
}

/** What bystanders suffered, from the rows of the others' operations while a thread was in callouts. */
export function suffered(basis: Basis): readonly Suffered[] {
  return measuring(basis, 'bystanders').flatMap((cost): readonly Suffered[] => {
    if (cost.observed === undefined || !isRow(cost, 'of the others')) return [];
    return [
      {
        cost,
        threads: Number(columnOfRow(cost, 'threads') ?? 1),
        work: String(columnOfRow(cost, 'work')),
        faults: observedOf(cost, 'faults') ?? 0,
        waitedNs: observedOf(cost, 'waited') ?? 0,
        windows: observedOf(cost, 'unprotected windows') ?? 0,
      },
    ];
  });
}

/** Faults, waits and unprotected windows of one experiment. */
export function sufferedTable({ run }: Basis, experiment: string, all: readonly Suffered[]): Table {
  const { cores } = run.context.host;
  return {
    id: `bystanders-${experiment}`,
    title: `Bystanders: faults, waits and unprotected windows while another thread makes callouts (${experiment})`,
    columns: [
      left('work of the others'),
      right('threads', 'count'),
      left('mechanism'),
      right('faults', 'count'),
      right('waited', 'ns'),
      right('unprotected windows', 'count'),
    ],
    rows: all
      .filter(({ cost }) => cost.experiment.name === experiment)
      .map(({ cost, threads, work, faults, waitedNs, windows }) => ({
        cells: [
          words(work),
          {
            kind: 'figure',
            value: threads,
            unit: 'count',
            ...(threads >= cores ? { after: ' (oversubscribed)' } : {}),
          },
          words(cost.mechanism),
          { kind: 'figure', value: faults, unit: 'count' },
          waitedNs === 0 ? words('0') : { kind: 'figure', value: waitedNs, unit: 'ns' },
          { kind: 'figure', value: windows, unit: 'count' },
        ],
      })),
    notes: [
      'Over all windows measured. A thread that faults on a closed image waits until it is open; past a limit ' +
        `it opens it, and an unprotected window is counted. From ${cores} threads besides the first on, ` +
        `processors are oversubscribed; interruptions of more than ${cores} processors (TLB shootdown) could not ` +
        'be measured here.',
    ],
    folded: true,
  };
}
