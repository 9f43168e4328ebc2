/** Joins the shards of one campaign: refuses strangers, names gaps and doubles. */
import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
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

const WRITE_BYTES = 1 << 20;
/** In place of a shard that has no records yet. */
const NONE = -1;

/**
 * Where each trial's line lies in the shards: 14 bytes a trial, however long the lines are. What is merged is read
 * twice, and never held.
 */
class Places {
  readonly #shards: readonly number[];
  readonly #shard: Uint32Array;
  readonly #from: Float64Array;
  /** 0: there is no such trial. */
  readonly #bytes: Uint16Array;

  constructor(trials: number, shards: readonly number[]) {
    this.#shards = shards;
    this.#shard = new Uint32Array(trials);
    this.#from = new Float64Array(trials);
    this.#bytes = new Uint16Array(trials);
  }

  set(key: number, shard: number, from: number, bytes: number): void {
    this.#shard[key] = shard;
    this.#from[key] = from;
    this.#bytes[key] = bytes;
  }

  line(key: number): string | undefined {
    const shard = this.#shards[this.#shard[key] ?? 0];
    const bytes = Buffer.alloc(this.#bytes[key] ?? 0);
    if (shard === undefined || bytes.length === 0) return undefined;
    readSync(shard, bytes, 0, bytes.length, this.#from[key] ?? 0);
    return bytes.toString('latin1');
  }

  /** Writes all lines in order. Returns their number. */
  write(path: string): number {
    const file = openSync(path, 'w');
    let [lines, text] = [0, ''];
    try {
      for (let key = 0; key < this.#bytes.length; key++) {
        const line = this.line(key);
        if (line === undefined) continue;
        lines++;
        text += `${line}\n`;
        if (text.length < WRITE_BYTES) continue;
        writeSync(file, text, null, 'latin1');
        text = '';
      }
      writeSync(file, text, null, 'latin1');
    } finally {
      closeSync(file);
    }
    return lines;
  }
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
  const paths = directories.map((directory) => join(directory, RECORDS_FILE));
  const shards = paths.map((path) => (existsSync(path) ? openSync(path, 'r') : NONE));
  const places = new Places(plan.count * plan.mechanisms.length, shards);
  const mechanisms = new Map<string, number>(plan.mechanisms.map((mechanism, at) => [mechanism, at]));
  const done = new Done(plan);
  const differing: string[] = [];
  let doubles = 0;
  let records: number;
  try {
    for (const [shard, directory] of directories.entries())
      eachRecord(directory, ({ index, mechanism }, line, from) => {
        const at = mechanisms.get(mechanism);
        if (at === undefined || index < 0 || index >= plan.count)
          throw new ExperimentError(`${directory} holds a trial that is not in its plan: ${index} under ${mechanism}`);
        const key = index * plan.mechanisms.length + at;
        if (done.add(mechanism, index)) places.set(key, shard, from, line.length);
        else {
          doubles++;
          if (settled(places.line(key) ?? '') !== settled(line)) differing.push(`${mechanism}: ${index}`);
        }
      });
    mkdirSync(out, { recursive: true });
    writePlan(out, plan);
    // one of the shards may lie in `out`
    const path = join(out, RECORDS_FILE);
    records = places.write(`${path}.new`);
    renameSync(`${path}.new`, path);
  } finally {
    for (const shard of shards) if (shard !== NONE) closeSync(shard);
  }
  const gaps = plan.mechanisms.flatMap((mechanism) =>
    done.missing(mechanism, 0, plan.count).map(([from, to]) => `${mechanism}: ${from}-${to - 1}`),
  );
  return { plan, records, doubles, differing, gaps };
}
