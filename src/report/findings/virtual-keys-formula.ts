/**
 * What virtual keys should cost, as a formula. The share of operations that miss follows from policy and order of
 * visits, and from that the cost of one operation. Pure arithmetic.
 *
 * Zipf: Che's approximation (least recent first), its form for random replacement, and for insertion on every nth miss
 * (q-LRU). An item of probability p is in the cache with a chance h(p, T); T is where the chances sum to the cache's
 * size. In turn: least recent first has each image just thrown out. Under random replacement there are m (n - 1)
 * evictions between two visits of an image; it survives with the chance (1 - 1/w) to that power.
 */

/** Which image makes room, as far as the formula tells policies apart. An experiment says which of its own is which. */
export const REPLACEMENTS = ['least recent', 'random', 'every nth miss', 'none'] as const;
export type Replacement = (typeof REPLACEMENTS)[number];
/** The order in which tenants are visited. */
export const ORDERS = ['in turn', 'Zipf', 'in turn, several visits each'] as const;
export type Order = (typeof ORDERS)[number];

/** How tenants are visited. */
export interface Visits {
  readonly images: number;
  readonly ways: number;
  readonly order: Order;
  readonly replacement: Replacement;
  /** Every how many misses an image is taken in for long. */
  readonly nth: number;
  /** Operations in an image before the next, in the order of several visits each. */
  readonly stay: number;
}

const STEPS = 200;

type Chance = (p: number, t: number) => number;

/** The share that misses in a cache of `ways` whose content h(p, T) tells, for Zipf's probabilities. */
function missesOfZipf(images: number, ways: number, chance: Chance): number {
  const weights = Array.from({ length: images }, (_, k) => 1 / (k + 1));
  const sum = weights.reduce((a, b) => a + b, 0);
  const probabilities = weights.map((weight) => weight / sum);
  let low = 0;
  let high = 1e9;
  for (let step = 0; step < STEPS; step++) {
    const t = (low + high) / 2;
    if (probabilities.reduce((held, p) => held + chance(p, t), 0) < ways) low = t;
    else high = t;
  }
  return probabilities.reduce((missed, p) => missed + p * (1 - chance(p, low)), 0);
}

const RECENT: Chance = (p, t) => 1 - Math.exp(-p * t);
const RANDOM: Chance = (p, t) => (p * t) / (1 + p * t);
const nthMiss =
  (nth: number): Chance =>
  (p, t) => {
    const hit = (1 - Math.exp(-p * t)) / nth;
    return hit / (Math.exp(-p * t) + hit);
  };

function missesInTurn({ images, ways, replacement, nth }: Visits): number {
  if (replacement === 'random') {
    let misses = 1;
    for (let step = 0; step < STEPS; step++) misses = 1 - (1 - 1 / ways) ** (misses * (images - 1));
    return misses;
  }
  if (replacement !== 'every nth miss') return 1;
  /* All but the guests' key keep their images, until every nth miss changes one. */
  const kept = ways - 1;
  let misses = 1;
  for (let step = 0; step < STEPS; step++)
    misses = 1 - (kept / images) * Math.max(0, 1 - (misses * images) / nth / kept / 2);
  return misses;
}

/** The share of operations that miss, 0 to 1. */
export function predictedMisses(visits: Visits): number {
  const { images, ways, order, replacement, nth, stay } = visits;
  if (replacement === 'none' || images <= ways) return 0;
  if (order === 'in turn, several visits each') return missesInTurn(visits) / stay;
  if (order === 'in turn') return missesInTurn(visits);
  if (replacement === 'random') return missesOfZipf(images, ways, RANDOM);
  if (replacement === 'every nth miss') return missesOfZipf(images, ways - 1, nthMiss(nth));
  return missesOfZipf(images, ways, RECENT);
}

/** One operation: what a hit costs, and for the share that misses an eviction and a load. */
export function predictedCost(hit: number, eviction: number, misses: number): number {
  return hit + misses * eviction;
}
