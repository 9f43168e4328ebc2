/**
 * What does it cost to have more images than keys?
 *
 * One operation is what a server with a VM per tenant does. It goes to a tenant, writes a word of its image as VM code,
 * and makes a callout. Under virtual keys a hit is a PKRU write, and a miss an eviction and a load. Under
 * mprotect-range the tenant's pages are opened and closed each time. One ordinary key for all tenants (`keys:
 * 'shared'`) enters nothing, and keeps no tenant from another. native/bench/virtual.c tries the images before it
 * measures.
 * Varies: mechanism; images; order of the tenants (round-robin; Zipf with exponent 1; sequential, eight operations
 * each); policy; pages of an image, of 4 KiB or 2 MiB, with two images that share one key, so that each operation is a
 * miss; threads (the counting guest has one processor, which they share). Records: samples of one operation of a
 * thread, in ns (native) or instructions (counted guest); misses and evictions; TLB shootdowns.
 */
import type { CostExperiment, CostParameters, CostRow, Mechanism } from '../../src/experiment/index.js';

const IMAGES = [2, 12, 16, 64, 1024];
const ORDERS = ['round-robin', 'zipf', 'sequential'];
const POLICIES = ['lru', 'clock', 'random', 'nth-miss', 'stripes'];
const PAGES = [1, 16, 256, 4096, 16384];
const HUGE_FROM = 512;
/** Hardware keys that the rows of the pool use at most: what a process with a trap and loans has left. */
const WAYS = 12;
/** What a row varies where nothing else is said. */
const PLAIN = { images: 2, pages: 1, order: 'round-robin', policy: 'lru', huge: false, threads: 1, ways: WAYS };

const row = (mechanism: Mechanism, keys: string, parameters: CostParameters): CostRow => {
  const { images, pages, order, policy, huge, threads, ways } = { ...PLAIN, ...parameters };
  return { mechanism, parameters: { keys, images, pages, order, policy, huge, threads, ways } };
};

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'going from tenant to tenant, with more images than keys',
  title: 'More images than keys',
  question:
    'What does it cost to go from tenant to tenant, each with an image of its own, and to make a callout there?',
  order: 96,
  shows: 'lines',
  parameters: {
    images: { role: 'x' },
    keys: { role: 'row', alone: true },
    order: { role: 'row', alone: true, usual: 'round-robin' },
    policy: { role: 'row', alone: true, usual: 'lru' },
    pages: { role: 'row', unit: 'count', usual: 1 },
    huge: { role: 'row', words: { yes: 'huge pages', no: '4 KiB pages' }, usual: false },
    threads: { role: 'row', unit: 'count', usual: 1 },
    ways: { role: 'row', unit: 'count', usual: WAYS },
  },
  measures: 'virtual keys',
  table: {
    columns: {
      images: 'images',
      order: 'order',
      policy: 'policy',
      keys: 'ways',
      pages: 'pages',
      'huge pages': 'huge',
      threads: 'threads',
    },
    meanings: {
      policy: {
        lru: 'least recent',
        clock: 'least recent',
        random: 'random',
        'nth-miss': 'every nth miss',
        stripes: 'none',
      },
      order: { 'round-robin': 'in turn', zipf: 'Zipf', sequential: 'in turn, several visits each' },
    },
    // native/bench/virtual.c: STAY; native/pkeys/pkeys_virtual.h: `nth` of the options, which is 8 where none is given
    numbers: { 'nth miss': 8, 'visits in sequence': 8 },
    rows: {
      'only hits': { ...PLAIN, keys: 'virtual', ways: WAYS },
      'only misses': { ...PLAIN, keys: 'virtual', ways: 1 },
      'many images': { keys: 'virtual', pages: 1, ways: WAYS, threads: 1 },
      'one mprotect pair': { keys: 'none', images: 16, pages: 1, threads: 1 },
      'a miss each time': { keys: 'virtual', images: 2, ways: 1, threads: 1 },
      'an mprotect pair each time': { keys: 'none', images: 2, ways: 1, threads: 1 },
      'several threads': { keys: 'virtual', images: 64, order: 'zipf', pages: 1 },
      'several threads, mprotect': { keys: 'none', images: 64, order: 'zipf', pages: 1 },
    },
    observed: {
      operations: 'operations',
      misses: 'misses',
      evictions: 'evictions',
      waits: 'waits',
      shootdowns: 'shootdowns',
    },
  },
  bench: 'virtual',
  rows({ quick, lane, cores }) {
    if (quick) return [];
    const byMprotect = (parameters: CostParameters): CostRow => row('mprotect-range', 'none', parameters);
    const byKeys = (parameters: CostParameters): CostRow => row('pkeys', 'virtual', parameters);
    const sizes = PAGES.flatMap((pages) =>
      (pages >= HUGE_FROM ? [false, true] : [false]).map((huge) => ({ images: 2, pages, huge, ways: 1 })),
    );
    return [
      row('pkeys', 'shared', { images: 2 }),
      ...IMAGES.map((images) => byMprotect({ images })),
      ...ORDERS.flatMap((order) =>
        (order === 'sequential' ? ['lru', 'nth-miss'] : POLICIES).flatMap((policy) =>
          IMAGES.map((images) => byKeys({ images, order, policy })),
        ),
      ),
      ...sizes.flatMap((size) => [byMprotect(size), byKeys(size)]),
      ...[2, 4].flatMap((threads) =>
        [byMprotect, byKeys].map((make) => {
          const made = make({ images: 64, order: 'zipf', threads });
          return lane === 'native' && cores < 2 ? { ...made, skip: 'one processor: nothing is shot down' } : made;
        }),
      ),
    ];
  },
};
