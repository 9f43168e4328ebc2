/**
 * What virtual keys should cost, in closed form. The share of operations that miss follows from policy and order of
 * visits, and from that the cost of one operation. Pure arithmetic.
 *
 * Zipf: Che's approximation (LRU; clock is taken for it), its form for random replacement, and for insertion on every
 * nth miss (q-LRU). An item of probability p is in the cache with a chance h(p, T); T is where the chances sum to the
 * cache's size. Round-robin: LRU and clock have each image just thrown out. Under random replacement there are m (n -
 * 1) evictions between two visits of an image; it survives with the chance (1 - 1/w) to that power.
 */

/** How tenants are visited. */
export interface Visits {
  readonly images: number;
  readonly ways: number;
  readonly order: 'round-robin' | 'zipf' | 'sequential';
  readonly policy: string;
}

/** Operations in an image before the next, in sequential order; native/bench/virtual.c. */
const STAY = 8;
/** PKEYS_POLICY_NTH_MISS, as the experiment sets it. */
const NTH = 8;
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
const NTH_MISS: Chance = (p, t) => {
  const hit = (1 - Math.exp(-p * t)) / NTH;
  return hit / (Math.exp(-p * t) + hit);
};

function missesOfRounds(images: number, ways: number, policy: string): number {
  if (policy === 'random') {
    let misses = 1;
    for (let step = 0; step < STEPS; step++) misses = 1 - (1 - 1 / ways) ** (misses * (images - 1));
    return misses;
  }
  if (policy !== 'nth-miss') return 1;
  /* All but the guests' key keep their images, until every nth miss changes one. */
  const kept = ways - 1;
  let misses = 1;
  for (let step = 0; step < STEPS; step++)
    misses = 1 - (kept / images) * Math.max(0, 1 - (misses * images) / NTH / kept / 2);
  return misses;
}

/** The share of operations that miss, 0 to 1. */
export function predictedMisses({ images, ways, order, policy }: Visits): number {
  if (policy === 'stripes' || images <= ways) return 0;
  if (order === 'sequential') return missesOfRounds(images, ways, policy) / STAY;
  if (order === 'round-robin') return missesOfRounds(images, ways, policy);
  if (policy === 'random') return missesOfZipf(images, ways, RANDOM);
  if (policy === 'nth-miss') return missesOfZipf(images, ways - 1, NTH_MISS);
  return missesOfZipf(images, ways, RECENT);
}

/** One operation: what a hit costs, and for the share that misses an eviction and a load. */
export function predictedCost(hit: number, eviction: number, misses: number): number {
  return hit + misses * eviction;
}
