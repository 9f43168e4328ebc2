/** Scores of guarded programs that documents quote: the `differences` of figures.ts. scripts/host-*.mjs record them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { inProject } from '../record/paths.js';

/** A recorded score: a program's tests, unguarded and under each mechanism. */
interface Score {
  readonly runs: readonly {
    readonly lane: string;
    readonly mechanism: string;
    readonly tests: number;
    readonly callouts: number;
    readonly differences: readonly unknown[];
  }[];
}

/** How many tests of `SUITE LANE MECHANISM` went otherwise than unguarded. @throws Error where that is not recorded */
export function recordedDifferences(
  directory: string,
  [suite = '', lane = '', mechanism = '']: readonly string[],
): string {
  const score = JSON.parse(readFileSync(inProject(join('results', directory, `${suite}.json`)), 'utf8')) as Score;
  const run = score.runs.find((each) => each.lane === lane && each.mechanism === mechanism);
  if (run === undefined || run.callouts === 0)
    throw new Error(`${directory} has no guarded run of ${suite} under ${mechanism} (${lane})`);
  return `${run.differences.length} of ${run.tests}`;
}
