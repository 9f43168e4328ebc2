/** The formula for virtual keys, beside a simulation of the cache that it stands for. */
import t from 'tap';

import { randomBelow } from '../../src/record/random.js';
import {
  type Order,
  predictedCost,
  predictedMisses,
  type Replacement,
} from '../../src/report/findings/virtual-keys-formula.js';

const misses = (images: number, order: Order, replacement: Replacement): number =>
  predictedMisses({ images, ways: 12, order, replacement, nth: 8, stay: 8 });

/** The share of 200,000 visits that misses under LRU. */
function simulated(ways: number, next: (i: number) => number): number {
  const cache: number[] = [];
  let missed = 0;
  const visits = 200_000;
  for (let i = 0; i < visits; i++) {
    const image = next(i);
    const at = cache.indexOf(image);
    if (at < 0) missed++;
    else cache.splice(at, 1);
    cache.unshift(image);
    if (cache.length > ways) cache.pop();
  }
  return missed / visits;
}

t.test('zipf, least recent first: within 3 % of a simulation', (t) => {
  const random = randomBelow(5);
  for (const images of [16, 64, 256]) {
    const upto: number[] = [];
    for (let k = 0; k < images; k++) upto.push((upto.at(-1) ?? 0) + 1 / (k + 1));
    const measured = simulated(12, () => {
      const at = (random(1e9) / 1e9) * (upto.at(-1) ?? 1);
      return upto.findIndex((sum) => sum > at);
    });
    const predicted = misses(images, 'Zipf', 'least recent');
    t.ok(Math.abs(predicted - measured) < 0.03, `${images}: ${predicted} beside ${measured}`);
  }
  t.end();
});

t.test(
  'in turn: all or none where the oldest goes, fewer at random and on every nth miss, none where none goes',
  (t) => {
    t.equal(misses(12, 'in turn', 'least recent'), 0);
    t.equal(misses(13, 'in turn', 'least recent'), 1);
    t.equal(misses(1024, 'in turn', 'least recent'), 1);
    for (const replacement of ['random', 'every nth miss'] as const) {
      const share = misses(16, 'in turn', replacement);
      t.ok(share > 0.2 && share < 1, replacement);
    }
    t.equal(misses(1024, 'in turn', 'none'), 0);
    t.equal(misses(13, 'in turn, several visits each', 'least recent'), 1 / 8);
    t.equal(predictedCost(100, 6000, 0.5), 3100);
    t.end();
  },
);
