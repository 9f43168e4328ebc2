/**
 * What does one failed callout cost in C, from the call through the fault and the recovery back to the caller, and
 * where does the time go?
 *
 * `whole`: the callee stores into the closed image (through a null pointer where nothing is closed), the trap recovers,
 * the record is taken. `delivery`: the same store with a bare handler that only steps over it. This is what the kernel
 * takes to deliver a fault and to return from its handler. `gate`: the callout without a fault. What is left of the
 * whole is the trap's handler and recovery. What JavaScript adds is measured by fault-javascript. native/bench/fault.c.
 * Varies: mechanism, image size, part; the thousandth fault and later, or the first one in a process. Records: samples
 * of one failed callout, in ns (native) or instructions (counted guest).
 */
import type { CostExperiment, CostRow, Mechanism } from '../../src/experiment/index.js';
import { imagePages, imageSize, sizedRow } from '../support/sizes.js';

const MECHANISMS: readonly Mechanism[] = [
  'flag',
  'mprotect-page',
  'mprotect-range',
  'mprotect-naive',
  'pkeys-glibc',
  'pkeys',
];
const KINDS: readonly Mechanism[] = ['flag', 'mprotect-range', 'pkeys'];

/** Pages of the image over which the parts are measured. */
const PAGES = 16;

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one callout that faults and is recovered, in C, and its parts',
  title: 'A fault, from the store to the error',
  question: 'What does a callout cost that faults and is recovered?',
  order: 50,
  shows: 'lines',
  parameters: {
    imageBytes: { role: 'size', unit: 'bytes' },
    part: { role: 'aside', alone: true, usual: 'whole' },
    occurrence: { role: 'aside' },
  },
  measures: 'fault',
  table: {
    rows: {
      whole: { part: 'whole' },
      delivery: { part: 'delivery' },
      gate: { part: 'gate' },
      'whole, first': { part: 'whole', occurrence: 'first' },
      'delivery, first': { part: 'delivery', occurrence: 'first' },
    },
  },
  bench: 'fault',
  rows(setting) {
    const whole = imagePages(setting, [16, 1024, 16384]).flatMap((pages) =>
      MECHANISMS.map((mechanism) => ({
        ...sizedRow(setting, mechanism, pages, { ...imageSize(pages), part: 'whole' }),
        rung: `failed callout in C, ${mechanism}`,
      })),
    );
    if (setting.quick) return whole;
    const size = imageSize(PAGES);
    const pages = PAGES;
    const together = 'parts';
    return [
      ...whole,
      ...KINDS.flatMap((mechanism): readonly CostRow[] => [
        { mechanism, parameters: { ...size, part: 'delivery' }, options: { pages, part: 'delivery' }, together },
        { mechanism, parameters: { ...size, part: 'gate' }, options: { pages, part: 'gate' }, together },
        {
          mechanism,
          parameters: { ...size, part: 'whole', occurrence: 'first' },
          options: { pages, part: 'whole', cold: true },
        },
        {
          mechanism,
          parameters: { ...size, part: 'delivery', occurrence: 'first' },
          options: { pages, part: 'delivery', cold: true },
        },
      ]),
    ];
  },
};
