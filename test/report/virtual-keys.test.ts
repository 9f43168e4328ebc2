/** The closed form of virtual keys, beside a simulation of the cache that it stands for. */
import t from 'tap';

import { randomBelow } from '../../src/record/random.js';
import { predictedCost, predictedMisses } from '../../src/report/findings/virtual-keys-formula.js';

/** The share of 200,000 visits that misses under LRU. */
function simulated(ways: number, next: (i: number) => number): number {
  const cache: number[] = [];
  let misses = 0;
  const visits = 200_000;
  for (let i = 0; i < visits; i++) {
    const image = next(i);
    const at = cache.indexOf(image);
    if (at < 0) misses++;
    else cache.splice(at, 1);
    cache.unshift(image);
    if (cache.length > ways) cache.pop();
  }
  return misses / visits;
}

t.test('zipf under lru: within 3 % of a simulation', (t) => {
  const random = randomBelow(5);
  for (const images of [16, 64, 256]) {
    const upto: number[] = [];
    for (let k = 0; k < images; k++) upto.push((upto.at(-1) ?? 0) + 1 / (k + 1));
    const measured = simulated(12, () => {
      const at = (random(1e9) / 1e9) * (upto.at(-1) ?? 1);
      return upto.findIndex((sum) => sum > at);
    });
    const predicted = predictedMisses({ images, ways: 12, order: 'zipf', policy: 'lru' });
    t.ok(Math.abs(predicted - measured) < 0.03, `${images}: ${predicted} beside ${measured}`);
  }
  t.end();
});

t.test('in rounds: all or none under lru, fewer at random and on every nth miss, none with stripes', (t) => {
  const of = (policy: string, images: number): number =>
    predictedMisses({ images, ways: 12, order: 'round-robin', policy });
  t.equal(of('lru', 12), 0);
  t.equal(of('lru', 13), 1);
  t.equal(of('clock', 1024), 1);
  for (const policy of ['random', 'nth-miss']) t.ok(of(policy, 16) > 0.2 && of(policy, 16) < 1, policy);
  t.equal(of('stripes', 1024), 0);
  t.equal(predictedMisses({ images: 13, ways: 12, order: 'sequential', policy: 'lru' }), 1 / 8);
  t.equal(predictedCost(100, 6000, 0.5), 3100);
  t.end();
});
