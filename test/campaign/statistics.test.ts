/**
 * Intervals and tests against published tables.
 */
import t, { type Test } from 'tap';

import { clopperPearson, mcnemar, overStrata, rate, wilson } from '../../src/campaign/statistics.js';

const near = (t: Test, found: number, wanted: number, digits: number): void => {
  t.ok(Math.abs(found - wanted) <= 0.5000001 * 10 ** -digits, `${found} is ${wanted}`);
};

t.test('Wilson: Newcombe 1998, table I, method 3', (t) => {
  for (const [count, of, low, high] of [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const) {
    const found = wilson(count, of);
    near(t, found.low, low, 4);
    near(t, found.high, high, 4);
  }
  t.end();
});

t.test('Clopper and Pearson: Newcombe 1998, table I, method 5', (t) => {
  for (const [count, of, low, high] of [
    [81, 263, 0.2527, 0.3676],
    [15, 148, 0.0578, 0.1617],
    [0, 20, 0, 0.1684],
    [1, 29, 0.0009, 0.1776],
  ] as const) {
    const found = clopperPearson(count, of);
    near(t, found.low, low, 4);
    near(t, found.high, high, 4);
  }
  t.end();
});

t.test('none of n is a bound, near 3.69 / n at 95 % two-sided; few are exact, many are Wilson', (t) => {
  near(t, rate(0, 3000).high, 1 - 0.025 ** (1 / 3000), 9);
  t.equal(rate(9, 3000).method, 'exact');
  t.equal(rate(2991, 3000).method, 'exact');
  t.equal(rate(10, 3000).method, 'wilson');
  t.end();
});

t.test('McNemar, exact: the binomial test of the pairs that differ', (t) => {
  near(t, mcnemar(1, 9), 22 / 1024, 9); // 2 (1 + 10) / 2^10
  near(t, mcnemar(9, 1), 22 / 1024, 9);
  near(t, mcnemar(0, 6), 2 / 64, 9);
  near(t, mcnemar(5, 5), 1, 9);
  t.equal(mcnemar(0, 0), 1);
  // Agresti, Categorical Data Analysis, 10.1: 86 and 150 changed their minds
  t.ok(mcnemar(86, 150) < 0.0001 && mcnemar(86, 150) > 0.00001, 'approval ratings');
  t.end();
});

t.test('over strata: one stratum is the exact interval; equal strata are one; weights count by their squares', (t) => {
  const one = overStrata([{ count: 12, of: 400, weight: 7 }]);
  const exact = clopperPearson(12, 399 + 1);
  near(t, one.estimate, 0.03, 12);
  t.ok(Math.abs(one.high - exact.high) < 0.0002, 'n - 1 in place of n');
  const two = overStrata([
    { count: 50, of: 100, weight: 3 },
    { count: 10, of: 100, weight: 1 },
  ]);
  near(t, two.estimate, 0.4, 12);
  // by hand: variance 0.5625 * 0.25 / 99 + 0.0625 * 0.09 / 99 = 0.001477
  const size = 0.24 / ((0.5625 * 0.25 + 0.0625 * 0.09) / 99);
  near(t, two.high, clopperPearson(0.4 * size, size).high, 9);
  const none = overStrata([
    { count: 0, of: 3000, weight: 1 },
    { count: 0, of: 3000, weight: 1 },
  ]);
  near(t, none.high, 1 - 0.025 ** (1 / 6000), 6);
  t.end();
});
