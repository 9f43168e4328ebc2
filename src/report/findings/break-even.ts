/** How many callouts one can afford: what a mechanism adds to one callout, times the callouts of a second. */
import { MECHANISMS } from '../../record/words.js';
import type { Basis } from './basis.js';
import { type Cost, sizeOf } from './costs.js';
import { formatBytes } from './format.js';
import { modelText } from './key-model.js';
import { inOrder } from './records.js';
import { left, MISSING, ofMechanism, type Table, words } from './table.js';
import { describeCost } from './variation.js';

/** What a mechanism adds to one callout over an image. */
export interface Added {
  readonly cost: Cost;
  readonly sizeBytes: number;
  readonly ns: number;
}

/**
 * What each mechanism adds to a callout, by image size, from the native rows of the headline experiment: its cost less
 * that of the raw call. A rate of r callouts a second then takes r * ns / 1e7 per cent of a processor.
 */
export function addedPerCallout({ headline }: Pick<Basis, 'headline'>): readonly Added[] {
  const cells = headline.cells.filter(({ lane }) => lane === 'native');
  const base = (size: number): number =>
    cells.find((cost) => cost.mechanism === 'none' && sizeOf(cost) === size)?.value ?? 0;
  return cells
    .filter(({ mechanism }) => mechanism !== 'none')
    .map((cost): Added => {
      const sizeBytes = sizeOf(cost) ?? 0;
      return { cost, sizeBytes, ns: cost.value - base(sizeBytes) };
    })
    .filter(({ ns }) => ns > 0);
}

/** Callouts a second that take `percent` per cent of a processor at `ns` each. */
export function rateAt(ns: number, percent = 1): number {
  return (percent * 1e7) / ns;
}

/** Sizes by mechanisms; the model of keys has a column of its own. */
export function breakEvenTable(basis: Basis, added: readonly Added[]): Table {
  const { model } = basis;
  const mechanisms = inOrder(
    MECHANISMS,
    added.map(({ cost }) => cost.mechanism),
  );
  const sizes = [...new Set(added.map(({ sizeBytes }) => sizeBytes))].sort((a, b) => a - b);
  return {
    id: 'break-even',
    title: 'Callouts a second at which a mechanism costs 1 % of a processor',
    columns: [
      left('image'),
      ...mechanisms.map((mechanism) => ofMechanism(mechanism)),
      ...(model === null ? [] : [ofMechanism('pkeys-model', 'pkeys, model')]),
    ],
    rows: sizes.map((size) => ({
      cells: [
        words(formatBytes(size)),
        ...mechanisms.map((mechanism) => {
          const entry = added.find(({ sizeBytes, cost }) => sizeBytes === size && cost.mechanism === mechanism);
          return entry === undefined
            ? MISSING
            : ({ kind: 'figure', value: rateAt(entry.ns), unit: 'rate', detail: describeCost(entry.cost) } as const);
        }),
        ...(model === null
          ? []
          : [{ kind: 'range', low: rateAt(model.mostNs), high: rateAt(model.leastNs), unit: 'rate' } as const]),
      ],
    })),
    notes: [
      'native lane: what a mechanism adds to one callout, times the callouts of a second',
      ...(model === null ? [] : [`pkeys, model: not measured; ${modelText(model)}`]),
    ],
    folded: true,
  };
}
