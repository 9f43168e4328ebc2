/**
 * What does a filter of callees' system calls cost real work?
 *
 * The applications of applications.ts, under the trap alone: not filtered, filtered by dispatch, and by seccomp. A
 * library that makes no system call pays a few instructions for each callout; one that makes many pays for each of
 * them. Unit k of one way is set beside unit k of the others, and the bytes that come out are checked.
 * Varies: application, way. Records: ns of one unit, callouts and callbacks in it.
 */
import type { CostExperiment } from '../../src/experiment/index.js';
import { applicationNamed, APPLICATIONS, timeUnits } from '../support/applications.js';
import { openImage } from '../support/cost-guard.js';

const IMAGE_BYTES = 1 << 20;
const ROUNDS = 4;
const NAMES = { none: 'not filtered', dispatch: 'by dispatch', seccomp: 'by seccomp' } as const;
type Way = keyof typeof NAMES;

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'zlib, SQLite, qsort and libpng whose system calls are judged',
  title: 'Whole applications, filtered',
  question: 'What does a filter of system calls cost real work?',
  order: 97,
  shows: 'rows',
  parameters: { application: { role: 'row', alone: true }, way: { role: 'row', alone: true, free: true } },
  rounds: ({ quick }) => (quick ? 1 : ROUNDS),
  timeoutMs: 120_000,
  rows: ({ quick }) =>
    quick
      ? []
      : APPLICATIONS.flatMap(({ name }) =>
          (Object.keys(NAMES) as Way[]).map((way) => ({
            mechanism: 'flag' as const,
            parameters: { application: name, way: NAMES[way] },
            options: { way },
            together: name,
          })),
        ),
  measure({ row, round }) {
    const application = applicationNamed(String(row.parameters['application']));
    const way = row.options?.['way'] as Way;
    const { guard } = openImage(row, IMAGE_BYTES, way === 'none' ? {} : { filter: { way } });
    const count = application.units / ROUNDS;
    const timed = timeUnits(application, guard, round * count, count);
    if ('skipped' in timed) return timed;
    const { samples, crossings, warm } = timed;
    return { samples, ...(warm ? {} : { warnings: [{ code: 'warm-up' }] }), found: { ...crossings } };
  },
};
