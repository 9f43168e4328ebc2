/** The ladder: from a raw call up to a callee in another process. Pure functions of cells. */
import type { Lane } from '../../record/words.js';
import { type Cost, plainest, sizeOf } from './costs.js';

/** A rung: a way of making, guarding or losing one call, by the name that its experiment gave it. */
export interface Rung {
  readonly label: string;
  readonly cost: Cost;
}

export interface Ladder {
  readonly lane: Lane;
  readonly rungs: readonly Rung[];
}

/**
 * One ladder for each lane that has two rungs: the plainest variation over the largest image that every rung with an
 * image has.
 */
export function laddersOf(cells: readonly Cost[]): readonly Ladder[] {
  return (['native', 'emulated'] as const).flatMap((lane) => {
    const byLabel = new Map<string, Cost[]>();
    for (const cost of cells) {
      if (cost.lane !== lane || cost.rung === undefined || cost.value <= 0) continue;
      byLabel.set(cost.rung, [...(byLabel.get(cost.rung) ?? []), cost]);
    }
    const plain = [...byLabel].map(([label, list]) => ({ label, list: plainest(list) }));
    const most = Math.min(
      ...plain.flatMap(({ list }) => {
        const sizes = list.flatMap((cost) => sizeOf(cost) ?? []);
        return sizes.length === 0 ? [] : [Math.max(...sizes)];
      }),
    );
    const rungs = plain
      .flatMap(({ label, list }): readonly Rung[] => {
        const [best] = list
          .filter((cost) => (sizeOf(cost) ?? 0) <= most)
          .sort((a, b) => (sizeOf(b) ?? 0) - (sizeOf(a) ?? 0));
        return best === undefined ? [] : [{ label, cost: best }];
      })
      .sort((a, b) => a.cost.value - b.cost.value);
    return rungs.length < 2 ? [] : [{ lane, rungs }];
  });
}
