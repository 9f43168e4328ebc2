/**
 * A campaign's directory: plan.json, written whole, and records.jsonl, which only grows. A line counts once its newline
 * is there: what a kill has torn off is dropped when the campaign goes on.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';

import { ExperimentError } from '../record/errors.js';
import { reasonOf, writeWhole } from '../record/store.js';
import type { Plan, TrialRecord } from './words.js';

export const PLAN_FILE = 'plan.json';
export const RECORDS_FILE = 'records.jsonl';

const CHUNK_BYTES = 1 << 20;

/** Reads a plan. @throws ExperimentError */
export function readPlan(directory: string): Plan {
  const path = join(directory, PLAN_FILE);
  try {
    const plan = JSON.parse(readFileSync(path, 'utf8')) as Plan;
    // oxlint-disable-next-line typescript/no-unnecessary-condition -- a file may say anything
    if (plan.schema !== 1) throw new Error('it is not of version 1');
    return plan;
  } catch (error) {
    throw new ExperimentError(`cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

export function writePlan(directory: string, plan: Plan): void {
  mkdirSync(directory, { recursive: true });
  writeWhole(join(directory, PLAN_FILE), `${JSON.stringify(plan)}\n`);
}

/** The fields in which two plans differ. The strata are one field. */
export function planDifferences(a: Plan, b: Plan): readonly string[] {
  const names = Object.keys({ ...a, ...b }) as (keyof Plan)[];
  return names.filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

/** Calls `take` with each whole line of a records file, and where it begins. Returns the bytes of whole lines. */
export function eachLine(path: string, take: (line: string, from: number) => void): number {
  if (!existsSync(path)) return 0;
  const file = openSync(path, 'r');
  const bytes = Buffer.alloc(CHUNK_BYTES);
  let rest = '';
  let whole = 0;
  try {
    for (let got; (got = readSync(file, bytes, 0, CHUNK_BYTES, null)) > 0;) {
      const lines = (rest + bytes.toString('latin1', 0, got)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        take(line, whole);
        whole += line.length + 1;
      }
    }
  } finally {
    closeSync(file);
  }
  return whole;
}

/** Calls `take` with each record of a directory, one at a time: memory does not grow with their number. */
export function eachRecord(directory: string, take: (record: TrialRecord, line: string, from: number) => void): number {
  const path = join(directory, RECORDS_FILE);
  return eachLine(path, (line, from) => {
    let record: TrialRecord;
    try {
      record = JSON.parse(line) as TrialRecord;
    } catch (error) {
      throw new ExperimentError(`${path} holds a line that is no record: ${line.slice(0, 80)}`, { cause: error });
    }
    take(record, line, from);
  });
}

/** Which trials are recorded: a bit for each mechanism and index. */
export class Done {
  readonly #bytes: ReadonlyMap<string, Uint8Array>;

  constructor(plan: Plan) {
    this.#bytes = new Map(plan.mechanisms.map((mechanism) => [mechanism, new Uint8Array(plan.count)]));
  }

  has(mechanism: string, index: number): boolean {
    return this.#bytes.get(mechanism)?.[index] === 1;
  }

  /** False where it was there already, or belongs to no plan. */
  add(mechanism: string, index: number): boolean {
    const bytes = this.#bytes.get(mechanism);
    if (bytes === undefined || index < 0 || index >= bytes.length || bytes[index] === 1) return false;
    bytes[index] = 1;
    return true;
  }

  /** The ranges of [from, to) that are not recorded. */
  missing(mechanism: string, from: number, to: number): readonly (readonly [number, number])[] {
    const ranges: [number, number][] = [];
    for (let index = from; index < to; index++) {
      if (this.has(mechanism, index)) continue;
      const last = ranges.at(-1);
      if (last?.[1] === index) last[1] = index + 1;
      else ranges.push([index, index + 1]);
    }
    return ranges;
  }
}

/** The records of a directory, to be added to. */
export class Records {
  readonly done: Done;
  readonly #directory: string;
  readonly #path: string;

  /** Takes in what is there, and cuts off a torn last line. */
  constructor(directory: string, plan: Plan) {
    mkdirSync(directory, { recursive: true });
    this.#directory = directory;
    this.#path = join(directory, RECORDS_FILE);
    this.done = new Done(plan);
    const whole = eachRecord(directory, ({ mechanism, index }) => {
      this.done.add(mechanism, index);
    });
    if (existsSync(this.#path)) truncateSync(this.#path, whole);
  }

  /** Calls `take` with each record. */
  each(take: (record: TrialRecord) => void): void {
    eachRecord(this.#directory, take);
  }

  /** Appends whole lines, in one write. A trial that is recorded already is left out. */
  append(lines: readonly string[]): readonly TrialRecord[] {
    const fresh: TrialRecord[] = [];
    let text = '';
    for (const line of lines) {
      const record = JSON.parse(line) as TrialRecord;
      if (!this.done.add(record.mechanism, record.index)) continue;
      fresh.push(record);
      text += `${line}\n`;
    }
    if (text !== '') appendFileSync(this.#path, text);
    return fresh;
  }
}
