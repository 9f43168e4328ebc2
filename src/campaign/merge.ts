/** Joins the shards of one campaign: refuses strangers, names gaps and doubles. */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { ExperimentError } from '../record/errors.js';
import { Done, eachRecord, planDifferences, readPlan, RECORDS_FILE, writePlan } from './store.js';
import type { Plan } from './words.js';

export interface Merged {
  readonly plan: Plan;
  readonly records: number;
  /** Trials recorded in more than one shard, each once: the first is kept. `differing`: not the same in both. */
  readonly doubles: number;
  readonly differing: readonly string[];
  /** What is missing, as `mechanism: from-to`. */
  readonly gaps: readonly string[];
}

/** Of a record, what does not depend on the clock. */
export function settled(line: string): string {
  return line.replace(/,"diedNs":\d+/, '');
}

/** Merges directories into `out`, in the order of indices and mechanisms. @throws ExperimentError for a stranger */
export function merge(directories: readonly string[], out: string): Merged {
  const [first] = directories;
  if (first === undefined) throw new ExperimentError('name the directories to merge');
  const plan = readPlan(first);
  for (const directory of directories) {
    const differences = planDifferences(plan, readPlan(directory));
    if (differences.length > 0)
      throw new ExperimentError(
        `${directory} is no shard of the campaign of ${first}: ${differences.join(', ')} differ`,
      );
  }
  // one line a trial, by its place in the order: what merging takes is the records themselves
  const lines = new Array<string | undefined>(plan.count * plan.mechanisms.length);
  const place = new Map<string, number>(plan.mechanisms.map((mechanism, at) => [mechanism, at]));
  const done = new Done(plan);
  const differing: string[] = [];
  let doubles = 0;
  for (const directory of directories)
    eachRecord(directory, ({ index, mechanism }, line) => {
      const at = place.get(mechanism);
      if (at === undefined || index < 0 || index >= plan.count)
        throw new ExperimentError(`${directory} holds a trial that is not in its plan: ${index} under ${mechanism}`);
      const key = index * plan.mechanisms.length + at;
      if (done.add(mechanism, index)) lines[key] = line;
      else {
        doubles++;
        if (settled(lines[key] ?? '') !== settled(line)) differing.push(`${mechanism}: ${index}`);
      }
    });
  mkdirSync(out, { recursive: true });
  const path = join(out, RECORDS_FILE);
  rmSync(path, { force: true });
  writePlan(out, plan);
  const file = openSync(path, 'w');
  let records = 0;
  try {
    for (const line of lines) {
      if (line === undefined) continue;
      writeSync(file, `${line}\n`);
      records++;
    }
  } finally {
    closeSync(file);
  }
  const gaps = plan.mechanisms.flatMap((mechanism) =>
    done.missing(mechanism, 0, plan.count).map(([from, to]) => `${mechanism}: ${from}-${to - 1}`),
  );
  return { plan, records, doubles, differing, gaps };
}
