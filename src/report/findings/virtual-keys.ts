/** Virtual keys: how often they miss, what that costs beside one mprotect pair, and where they stop paying. */
import { LANES } from '../../record/words.js';
import { type Basis, columnOfRow, isRow, knownMeaningOf, measuring, numberOf, observedOf } from './basis.js';
import { logAxis, type LookName, type Panel, type Series, sizeAxis, stepAxis } from './charts.js';
import type { Cost } from './costs.js';
import { formatFigure } from './format.js';
import { type Cell, left, MISSING, right, type Table, words } from './table.js';
import { valueOf } from './variation.js';
import { ORDERS, predictedCost, predictedMisses, REPLACEMENTS } from './virtual-keys-formula.js';
import { LANE_MEANINGS } from './words.js';

/** Lines and marks that differ by more than their colour; no mechanism is meant by them. One for each policy. */
const POLICY_LOOKS: readonly LookName[] = ['pkeys', 'pkeys-glibc', 'mprotect-page', 'mprotect-naive', 'flag'];
/** A miss ratio of 0 has no place on a logarithmic axis: it is drawn here. */
const LEAST_MISSES = 0.001;
const PAGE_BYTES = 4096;

const share = (part: number): string => formatFigure(100 * part, 'percent');

/** A counted cell of virtual keys with what it hit and missed. */
export interface Visited {
  readonly cost: Cost;
  readonly visits: { readonly images: number; readonly ways: number; readonly order: string; readonly policy: string };
  readonly misses: number;
  readonly predicted: number;
  /** Predicted cost of one operation; undefined where no hit or no eviction was measured. */
  readonly expected: number | undefined;
}

const virtualCells = (basis: Basis): readonly Cost[] => measuring(basis, 'virtual keys');
const numberIn = (cost: Cost, word: string): number => Number(columnOfRow(cost, word));

/** What a hit costs, and what an eviction with a load adds: from the two rows that show one alone. */
function corners(cells: readonly Cost[]): { readonly hit: number; readonly eviction: number } | undefined {
  const hit = cells.find((cost) => isRow(cost, 'only hits'))?.value;
  const miss = cells.find((cost) => isRow(cost, 'only misses'))?.value;
  return hit === undefined || miss === undefined ? undefined : { hit, eviction: miss - hit };
}

/** The cells over many images of one page, in the order of policies and orders. */
export function visited(basis: Basis): readonly Visited[] {
  const cells = virtualCells(basis);
  const known = corners(cells);
  return cells
    .filter((cost) => isRow(cost, 'many images'))
    .flatMap((cost): readonly Visited[] => {
      const operations = observedOf(cost, 'operations') ?? 0;
      if (operations === 0) return [];
      const [images, ways] = [numberIn(cost, 'images'), numberIn(cost, 'keys')];
      const predicted = predictedMisses({
        images,
        ways,
        order: knownMeaningOf(cost, 'order', ORDERS),
        replacement: knownMeaningOf(cost, 'policy', REPLACEMENTS),
        nth: numberOf(cost, 'nth miss'),
        stay: numberOf(cost, 'visits in sequence'),
      });
      const visits = {
        images,
        ways,
        order: String(columnOfRow(cost, 'order')),
        policy: String(columnOfRow(cost, 'policy')),
      };
      const expected = known === undefined ? undefined : predictedCost(known.hit, known.eviction, predicted);
      return [{ cost, visits, misses: (observedOf(cost, 'misses') ?? 0) / operations, predicted, expected }];
    });
}

/** What one operation by mprotect costs in a lane, over one page. */
function mprotectCost(cells: readonly Cost[], lane: Cost['lane']): number | undefined {
  return cells.find((cost) => cost.lane === lane && isRow(cost, 'one mprotect pair'))?.value;
}

/** The orders of visits, and the policies, as they come in the experiment's rows. */
const ordersIn = (rows: readonly Visited[]): readonly string[] => [...new Set(rows.map(({ visits }) => visits.order))];
const policiesIn = (rows: readonly Visited[]): readonly string[] => [
  ...new Set(rows.map(({ visits }) => visits.policy)),
];

function seriesOf(
  rows: readonly Visited[],
  policies: readonly string[],
  y: (row: Visited) => number,
  say: (row: Visited) => string,
): Series[] {
  return policies
    .map((policy, at): Series => ({
      label: policy,
      look: POLICY_LOOKS[at] ?? 'by hand',
      points: rows
        .filter(({ visits }) => visits.policy === policy)
        .map((row) => ({
          x: row.visits.images,
          y: y(row),
          text: `${policy}, ${row.visits.images} images: ${say(row)}`,
        }))
        .sort((a, b) => a.x - b.x),
    }))
    .filter(({ points }) => points.length > 0);
}

/** Miss ratio over images, a panel for each order; and the cost beside mprotect's, where 1 is the break-even. */
export function virtualPanels(basis: Basis): readonly Panel[] {
  const cells = virtualCells(basis);
  const all = visited(basis);
  const policies = policiesIn(all);
  return LANES.flatMap((lane) =>
    ordersIn(all).flatMap((order): readonly Panel[] => {
      const rows = all.filter(({ cost, visits }) => cost.lane === lane && visits.order === order);
      const pair = mprotectCost(cells, lane);
      if (rows.length === 0) return [];
      const x = stepAxis(
        rows.map(({ visits }) => visits.images),
        'images',
      );
      const note = `${lane} lane: ${LANE_MEANINGS[lane]}`;
      const missPanel: Panel = {
        lane,
        title: `Misses, ${order}`,
        note: `${note}; a ratio of 0 is drawn at ${LEAST_MISSES}`,
        chart: {
          kind: 'lines',
          name: `Share of operations that miss, by number of images, ${order}, ${lane} lane`,
          x,
          y: { title: 'misses, % of operations, log', domain: [0.1, 100], ticks: [0.1, 1, 10, 100], unit: 'percent' },
          series: seriesOf(
            rows,
            policies,
            ({ misses }) => 100 * Math.max(LEAST_MISSES, misses),
            ({ misses, predicted }) => `${share(misses)} miss, ${share(predicted)} predicted`,
          ),
        },
      };
      if (pair === undefined) return [missPanel];
      return [
        missPanel,
        {
          lane,
          title: `Break-even with mprotect, ${order}`,
          note: `${note}; above 1, one mprotect pair for each visit is cheaper`,
          chart: {
            kind: 'lines',
            name: `Cost of an operation as a multiple of mprotect-range's, by images, ${order}, ${lane} lane`,
            x,
            y: logAxis([0.01, 2], 'times mprotect-range’s cost, log', 'times'),
            rules: [{ y: 1, label: 'break-even' }],
            series: seriesOf(
              rows,
              policies,
              ({ cost }) => cost.value / pair,
              ({ cost }) => `${valueOf(cost, cost.value)}, ${(cost.value / pair).toFixed(2)} times mprotect-range's`,
            ),
          },
        },
      ];
    }),
  ).concat(sizePanels(cells));
}

/** A miss over the image's size, beside one mprotect pair. */
function sizePanels(cells: readonly Cost[]): readonly Panel[] {
  return LANES.flatMap((lane): readonly Panel[] => {
    const here = cells.filter((cost) => cost.lane === lane);
    const rows = here.filter((cost) => isRow(cost, 'a miss each time') || isRow(cost, 'an mprotect pair each time'));
    const keyed = rows.filter(({ mechanism }) => mechanism === 'pkeys');
    if (keyed.length === 0) return [];
    const size = (cost: Cost): number => numberIn(cost, 'pages') * PAGE_BYTES;
    const series = [false, true].flatMap((huge) =>
      (['pkeys', 'mprotect-range'] as const).map((mechanism): Series => ({
        label: `${mechanism === 'pkeys' ? 'miss' : 'mprotect'}${huge ? ', huge' : ''}`,
        look: mechanism,
        points: rows
          .filter((cost) => cost.mechanism === mechanism && columnOfRow(cost, 'huge pages') === huge)
          .map((cost) => ({ x: size(cost), y: cost.value, text: `${mechanism}: ${valueOf(cost, cost.value)}` }))
          .sort((a, b) => a.x - b.x),
      })),
    );
    const unit = keyed[0]?.unit ?? 'ns';
    return [
      {
        lane,
        title: 'A miss each time, by size of the image',
        note: `${lane} lane: ${LANE_MEANINGS[lane]}`,
        chart: {
          kind: 'lines',
          name: `Cost of an operation that misses, and of one by mprotect, by image size, ${lane} lane`,
          x: sizeAxis(keyed.map(size)),
          y: logAxis(
            rows.map(({ value }) => value),
            unit === 'ns' ? 'time, log' : 'instructions, log',
            unit,
          ),
          series: series.filter(({ points }) => points.length > 0),
        },
      },
    ];
  });
}

/** For each policy and order: from how many images on virtual keys cost more than mprotect, and at which miss ratio. */
export function breakEvenOfVirtual(basis: Basis): Table {
  const cells = virtualCells(basis);
  const all = visited(basis).filter(({ cost }) => cost.lane === 'emulated' || cost.lane === 'native');
  const known = corners(cells);
  const lane = all[0]?.cost.lane ?? 'native';
  const pair = mprotectCost(cells, lane);
  const orders = ordersIn(all);
  const ratio = known === undefined || pair === undefined ? undefined : (pair - known.hit) / known.eviction;
  return {
    id: 'virtual-keys-break-even',
    title: 'Where virtual keys stop paying against one mprotect pair for each visit',
    columns: [left('policy'), ...orders.map((order) => left(`dearer from, ${order}`)), right('worst, times')],
    rows:
      pair === undefined
        ? []
        : policiesIn(all)
            .map((policy) => {
              const rows = all.filter(({ visits }) => visits.policy === policy);
              const worst = Math.max(0, ...rows.map(({ cost }) => cost.value / pair));
              return {
                cells: [
                  words(policy),
                  ...orders.map((order) => {
                    const here = rows
                      .filter(({ visits, cost }) => visits.order === order && cost.value > pair)
                      .map(({ visits }) => visits.images);
                    return words(here.length === 0 ? 'never' : `${Math.min(...here)} images`);
                  }),
                  worst === 0 ? MISSING : ({ kind: 'figure', value: worst, unit: 'times' } as const),
                ],
              };
            })
            .filter(({ cells: [, ...more] }) => more.length > 0),
    notes: [
      ...(ratio === undefined ? [] : [`break-even at a miss ratio of ${share(ratio)} (one page, ${lane} lane)`]),
      `images of one page, ${all[0]?.visits.ways ?? 0} keys`,
    ],
    lane,
  };
}

/** How far the formula is off, by policy and order. */
export function virtualFormulaTable(basis: Basis): Table {
  const all = visited(basis).filter(({ expected }) => expected !== undefined);
  return {
    id: 'virtual-keys-formula',
    title: 'Measured beside the formula: hit + miss ratio × (eviction + load)',
    columns: [
      left('policy'),
      left('order'),
      right('images'),
      right('misses'),
      right('predicted'),
      right('cost'),
      right('predicted cost'),
      right('off by'),
    ],
    rows: all.map(({ cost, visits, misses, predicted, expected = 0 }) => ({
      cells: [
        words(visits.policy),
        words(visits.order),
        { kind: 'figure', value: visits.images, unit: 'count' },
        words(share(misses)),
        words(share(predicted)),
        { kind: 'figure', value: cost.value, unit: cost.unit },
        { kind: 'figure', value: expected, unit: cost.unit },
        words(share(cost.value / expected - 1)),
      ],
    })),
    notes: ['Zipf by Che’s approximation and its kin; hit and eviction from the rows with 2 images'],
    folded: true,
  };
}

/** Threads that go their own ways: what an operation costs, and what it makes others do. */
export function threadsOfVirtual(basis: Basis): Table {
  const rows = virtualCells(basis).filter(
    (cost) =>
      (isRow(cost, 'several threads') || isRow(cost, 'several threads, mprotect')) && numberIn(cost, 'threads') > 1,
  );
  const images = rows[0] === undefined ? 0 : numberIn(rows[0], 'images');
  const figure = (value: number | undefined): Cell =>
    value === undefined ? MISSING : { kind: 'figure', value, unit: 'count' };
  return {
    id: 'virtual-keys-threads',
    title: `Several threads, each with tenants of its own (${images} images of one page, Zipf)`,
    columns: [
      left('mechanism'),
      left('lane'),
      right('threads'),
      right('an operation of one thread'),
      right('evictions in 1,000'),
      right('waits in 1,000'),
      right('TLB shootdowns in 1,000'),
    ],
    rows: rows.map((cost) => ({
      cells: [
        words(cost.mechanism),
        words(cost.lane),
        figure(numberIn(cost, 'threads')),
        { kind: 'figure', value: cost.value, unit: cost.unit },
        ...['evictions', 'waits', 'shootdowns'].map((word) => {
          const [operations = 0, count] = [observedOf(cost, 'operations'), observedOf(cost, word)];
          return figure(operations === 0 || count === undefined ? undefined : Math.round((1000 * count) / operations));
        }),
      ],
    })),
    notes: [
      'more threads than processors take turns, and an operation takes so much longer',
      'the counting guest has one processor: nothing is shot down there',
    ],
  };
}
