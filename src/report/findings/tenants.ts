/** Tenants with an image each, with one key for all, or with a process each: what each way costs, and keeps apart. */
import { LANES } from '../../record/words.js';
import { type Basis, columnOfRow, isRow, measuring, observedOf } from './basis.js';
import type { Cost } from './costs.js';
import { left, MISSING, right, type Table, words } from './table.js';

const nameOf = (cost: Cost): string =>
  `${['way', 'policy'].flatMap((word) => columnOfRow(cost, word) ?? []).join(', ')} (${cost.mechanism})`;

/** One line for each way, in the lane with most ways. */
export function tenantsTable(basis: Basis): readonly Table[] {
  const all = measuring(basis, 'tenants');
  return LANES.map((lane): Table => {
    const visits = all.filter((cost) => cost.lane === lane && isRow(cost, 'visit'));
    return {
      id: `tenants-${lane}`,
      title: `1,000 tenants, ${lane} lane`,
      columns: [
        left('each tenant has'),
        right('a request'),
        right('misses'),
        right('start of all'),
        right('memory of each', 'bytes'),
        right('stray stores that landed'),
      ],
      rows: visits.map((cost) => {
        const runs = cost.samples.length;
        const seen = (word: string): number => observedOf(cost, word) ?? 0;
        const [operations, stray, landed] = [seen('operations'), seen('stray'), seen('landed')];
        return {
          cells: [
            words(nameOf(cost)),
            { kind: 'figure', value: cost.value, unit: cost.unit },
            operations === 0
              ? MISSING
              : { kind: 'figure', value: (100 * seen('misses')) / operations, unit: 'percent' },
            { kind: 'figure', value: seen('start') / runs, unit: cost.unit },
            { kind: 'figure', value: seen('memory of each') / runs, unit: 'bytes' },
            stray === 0
              ? words('not tried')
              : words(`${landed / runs} of ${stray / runs}`, landed === 0 ? 'good' : 'bad'),
          ],
        };
      }),
      notes: ['a stray store: native code of one tenant’s own stores into each other tenant’s heap'],
      lane,
    };
  }).filter(({ rows }) => rows.length > 0);
}
