/**
 * What would real work feel of two rights writes per callout, on a CPU that has none?
 *
 * The applications once more, with a calibrated serialising delay in place of each PKRU write (docs/gate.md, "A model
 * of keys"). Such a model protects nothing and is never set in one series with measured keys. Beside it, in the same
 * rounds, the same work unguarded and under the trap alone. Only where the CPU has no keys.
 * Varies: application, cycles of the delay. Records: ns of one unit, lane `model`; the cycles that the calibration
 * reached.
 */
import type { CostExperiment, CostRow } from '../../src/experiment/index.js';
import { applicationNamed, APPLICATIONS, timeUnits } from '../support/applications.js';
import { openImage } from '../support/cost-guard.js';

const IMAGE_BYTES = 64 << 10;
const ROUNDS = 4;
const QUICK_UNITS = 6;
const CYCLES = [20, 60, 260] as const;
const QUICK = 'zlib, 4 KiB chunks';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'the applications with a delay in place of each rights write: a model of keys',
  title: 'Applications with a stand-in for keys',
  question: 'What would real work feel of a rights write of so many cycles?',
  order: 40,
  shows: 'ratios',
  parameters: {
    application: { role: 'row', alone: true },
    cycles: { role: 'series', unit: 'count', free: true },
  },
  measures: 'model of keys',
  table: {
    columns: { application: 'application', cycles: 'cycles' },
    found: { 'reached cycles': 'reachedCycles' },
  },
  rounds: ({ quick }) => (quick ? 1 : ROUNDS),
  timeoutMs: 120_000,
  rows({ quick, keys }) {
    if (keys)
      return [
        {
          mechanism: 'pkeys-model',
          lane: 'model',
          parameters: {},
          skip: 'this CPU has protection keys: they are measured, not modelled',
        },
      ];
    return APPLICATIONS.filter(({ name }) => !quick || name === QUICK).flatMap(({ name }): readonly CostRow[] => [
      ...(['none', 'flag'] as const).map((mechanism) => ({
        mechanism,
        together: name,
        parameters: { application: name },
      })),
      ...CYCLES.map((cycles) => ({
        mechanism: 'pkeys-model' as const,
        lane: 'model' as const,
        together: name,
        parameters: { application: name, cycles },
      })),
    ]);
  },
  measure({ row, round, quick }) {
    const application = applicationNamed(String(row.parameters['application']));
    const { guard, reachedCycles } = openImage(row, IMAGE_BYTES);
    const count = quick ? QUICK_UNITS : application.units / ROUNDS;
    const timed = timeUnits(application, guard, round * count, count);
    if ('skipped' in timed) return timed;
    const { samples, crossings, warm } = timed;
    return {
      samples,
      ...(warm ? {} : { warnings: [{ code: 'warm-up' }] }),
      found: {
        ...crossings,
        unit: application.unit,
        ...(row.mechanism === 'pkeys-model' ? { reachedCycles: Math.round(reachedCycles * 10) / 10 } : {}),
      },
    };
  },
};
