/** Joins the shards of one campaign: refuses strangers, names gaps and doubles. */
import { closeSync, mkdirSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
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

/** The part of a record that does not depend on the clock. */
export function settled(line: string): string {
  return line.replace(/,"diedNs":\d+/, '');
}

const WRITE_BYTES = 1 << 20;
/** What #bytes holds. */
const LONGEST_LINE = 0xffff;
/** Shards open at once. Each holds a range of indices, so that few are read by turns. */
const MOST_OPEN = 16;

/**
 * Where each trial's line lies in the shards: 14 bytes a trial, however long the lines are. What is merged is read
 * twice, and never held.
 */
class Places {
  readonly #paths: readonly string[];
  /** By the place in #paths; the one opened first comes first. */
  readonly #open = new Map<number, number>();
  readonly #shard: Uint32Array;
  readonly #from: Float64Array;
  /** 0: there is no such trial. */
  readonly #bytes: Uint16Array;

  constructor(trials: number, paths: readonly string[]) {
    this.#paths = paths;
    this.#shard = new Uint32Array(trials);
    this.#from = new Float64Array(trials);
    this.#bytes = new Uint16Array(trials);
  }

  /** @throws ExperimentError where the line is too long */
  set(key: number, shard: number, from: number, bytes: number): void {
    if (bytes > LONGEST_LINE)
      throw new ExperimentError(
        `${this.#paths[shard] ?? ''} holds a line of ${bytes} bytes at byte ${from}; ${LONGEST_LINE} are the most`,
      );
    this.#shard[key] = shard;
    this.#from[key] = from;
    this.#bytes[key] = bytes;
  }

  /** @throws ExperimentError where the shard has become shorter */
  line(key: number): string | undefined {
    const bytes = Buffer.alloc(this.#bytes[key] ?? 0);
    if (bytes.length === 0) return undefined;
    const shard = this.#shard[key] ?? 0;
    if (readSync(this.#file(shard), bytes, 0, bytes.length, this.#from[key] ?? 0) < bytes.length)
      throw new ExperimentError(`${this.#paths[shard] ?? ''} has become shorter while it was merged`);
    return bytes.toString('latin1');
  }

  #file(shard: number): number {
    const known = this.#open.get(shard);
    if (known !== undefined) return known;
    const [oldest] = this.#open;
    if (oldest !== undefined && this.#open.size >= MOST_OPEN) {
      this.#open.delete(oldest[0]);
      closeSync(oldest[1]);
    }
    const file = openSync(this.#paths[shard] ?? '', 'r');
    this.#open.set(shard, file);
    return file;
  }

  close(): void {
    for (const file of this.#open.values()) closeSync(file);
    this.#open.clear();
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
  const places = new Places(plan.count * plan.mechanisms.length, paths);
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
    places.close();
  }
  const gaps = plan.mechanisms.flatMap((mechanism) =>
    done.missing(mechanism, 0, plan.count).map(([from, to]) => `${mechanism}: ${from}-${to - 1}`),
  );
  return { plan, records, doubles, differing, gaps };
}
