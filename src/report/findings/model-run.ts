/** Applications with a delay in place of each rights write: a model, which protects nothing. */
import { type Basis, columnOfRow, foundOf, measuring } from './basis.js';
import { type Interval, pairedRatio } from './bootstrap.js';
import type { Cost } from './costs.js';
import { type Cell, left, MISSING, ofMechanism, type Table, words } from './table.js';
import type { Text } from './text.js';
import { describeCost } from './variation.js';
import { LANE_MEANINGS } from './words.js';

/** What the model's rights writes add to an application that has the trap already. */
export interface ModelStep {
  readonly application: string;
  /** Asked for, and what the calibration of the first process reached. */
  readonly cycles: number;
  readonly reachedCycles: number | undefined;
  readonly cost: Cost;
  /** Over the same work under `flag`, by pairs. */
  readonly overFlag: { readonly ratio: number; readonly interval: Interval };
}

/** One for each application and length of delay. */
export function modelSteps(basis: Basis): readonly ModelStep[] {
  const cells = measuring(basis, 'model of keys');
  return cells.flatMap((cost): readonly ModelStep[] => {
    if (cost.mechanism !== 'pkeys-model') return [];
    const application = columnOfRow(cost, 'application');
    const flag = cells.find(
      (candidate) => candidate.mechanism === 'flag' && columnOfRow(candidate, 'application') === application,
    );
    if (flag?.samples.length !== cost.samples.length) return [];
    const reached = foundOf(cost, 'reached cycles');
    return [
      {
        application: String(application),
        cycles: Number(columnOfRow(cost, 'cycles')),
        reachedCycles: typeof reached === 'number' ? reached : undefined,
        cost,
        overFlag: pairedRatio(flag.samples, cost.samples),
      },
    ];
  });
}

/** What is to be said of the model before its figures. */
export function modelRunText(steps: readonly ModelStep[]): Text {
  const reached = new Map(
    steps.flatMap(({ cycles, reachedCycles }) =>
      reachedCycles === undefined ? [] : [[cycles, reachedCycles] as const],
    ),
  );
  const calibration = [...reached]
    .sort(([a], [b]) => a - b)
    .map(([asked, cycles]) => `${asked} cycles asked, ${cycles.toFixed(0)} reached`)
    .join('; ');
  return (
    'A model: nothing was protected in these runs. The delay stands where the gate would write rights, and ' +
    `was calibrated in each process${calibration === '' ? '' : `: ${calibration}`}. It is never set in one ` +
    'series with measured keys.'
  );
}

/** What the delays add to work that has the trap already. */
export function modelTable(steps: readonly ModelStep[]): Table {
  const cycles = [...new Set(steps.map((step) => step.cycles))].sort((a, b) => a - b);
  return {
    id: 'model-run',
    title: 'A model, which protects nothing: what a delay in place of each rights write adds to the trap',
    columns: [left('application'), ...cycles.map((count) => ofMechanism('pkeys-model', `${count} cycles`))],
    rows: [...new Set(steps.map(({ application }) => application))].map((application) => ({
      cells: [
        words(application),
        ...cycles.map((count): Cell => {
          const step = steps.find((candidate) => candidate.application === application && candidate.cycles === count);
          if (step === undefined) return MISSING;
          const { ratio, interval } = step.overFlag;
          return { kind: 'range', middle: ratio, ...interval, unit: 'times', detail: describeCost(step.cost) };
        }),
      ],
    })),
    notes: [
      `model lane: ${LANE_MEANINGS.model}. × is how many times the same work under flag, by pairs, with its ` +
        '95 % interval.',
    ],
  };
}
