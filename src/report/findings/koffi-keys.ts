/** A callout from JavaScript under keys, where the CPU has none: what is known of it, in parts. */
import type { Mechanism } from '../../record/words.js';
import { type Basis, columnOfRow, measuring, numberFound } from './basis.js';
import { type Cost, plainest } from './costs.js';
import { formatCount } from './format.js';
import { left, MISSING, ofMechanism, right, type Table, words } from './table.js';
import type { Text } from './text.js';
import { describeCost } from './variation.js';

export interface KoffiKeys {
  readonly signature: string;
  /** Measured. */
  readonly flag: Cost;
  /** Two for a callout, two more for each callback during it. */
  readonly rightsWrites: number;
  /**
   * Counted in C: instructions of a callout under keys less those under the trap alone; null for a call with a
   * callback, which was not counted.
   */
  readonly moreInstructions: number | null;
  /** The rights writes by published latencies, in ns: a model. */
  readonly model: { readonly leastNs: number; readonly mostNs: number } | null;
}

/** One for each call; empty where keys were measured, or nothing was counted. */
export function koffiKeys(basis: Basis): readonly KoffiKeys[] {
  const calls = measuring(basis, 'calls by koffi');
  if (calls.some(({ mechanism }) => mechanism === 'pkeys')) return [];
  const counted = (mechanism: Mechanism): Cost | undefined =>
    plainest(
      measuring(basis, 'call in C').filter((cost) => cost.lane === 'emulated' && cost.mechanism === mechanism),
    )[0];
  const [flag, keys] = [counted('flag'), counted('pkeys')];
  if (flag === undefined || keys === undefined) return [];
  const bySignature = new Map<string, Cost>();
  for (const cost of calls) {
    const signature = String(columnOfRow(cost, 'signature'));
    if (cost.mechanism === 'flag' && !bySignature.has(signature)) bySignature.set(signature, cost);
  }
  return [...bySignature].map(([signature, cost]): KoffiKeys => {
    const callbacks = numberFound(cost, 'callbacks');
    const pairs = 1 + callbacks;
    const { model } = basis;
    return {
      signature,
      flag: cost,
      rightsWrites: 2 * pairs,
      moreInstructions: callbacks > 0 ? null : keys.value - flag.value,
      model: model === null ? null : { leastNs: pairs * model.leastNs, mostNs: pairs * model.mostNs },
    };
  });
}

/** Why the parts are not added up. */
export function koffiText(known: readonly KoffiKeys[]): Text {
  const counted = known.find(({ moreInstructions }) => moreInstructions !== null)?.moreInstructions;
  if (counted == null) return '';
  return [
    'Nothing from JavaScript is counted: the compiler and the collector run on the same processor. So the ' +
      'cost of a callout from JavaScript under keys is given in parts that are not added up: what was ',
    { strong: 'measured' },
    ' under ',
    { code: 'flag' },
    `, and the ${formatCount(counted)} instructions, two of them rights writes, that keys were `,
    { strong: 'counted' },
    ' to add to a callout in C. A callback during the call writes rights twice more',
    known.some(({ model }) => model !== null) ? '. What the writes take by published latencies is a model.' : '.',
  ];
}

export function koffiTable(known: readonly KoffiKeys[]): Table {
  const modelled = known.some(({ model }) => model !== null);
  return {
    id: 'koffi-keys',
    title: 'A callout from JavaScript under keys: measured flag, counted difference',
    columns: [
      left('call'),
      right('flag, measured', 'ns'),
      right('rights writes', 'count'),
      right('keys add, counted', 'instructions'),
      ...(modelled ? [ofMechanism('pkeys-model', 'keys add, model')] : []),
    ],
    rows: known.map(({ signature, flag, rightsWrites, moreInstructions, model }) => ({
      cells: [
        words(signature),
        { kind: 'figure', value: flag.value, unit: flag.unit, detail: describeCost(flag) },
        { kind: 'figure', value: rightsWrites, unit: 'count' },
        moreInstructions === null
          ? words('not counted')
          : { kind: 'figure', value: moreInstructions, unit: 'instructions' },
        ...(modelled
          ? [
              model === null
                ? MISSING
                : ({ kind: 'range', low: model.leastNs, high: model.mostNs, unit: 'ns' } as const),
            ]
          : []),
      ],
    })),
    notes: ['nothing from JavaScript is counted; the two parts are of different units and are not added up'],
  };
}
