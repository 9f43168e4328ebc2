/** Runs a campaign, or a shard of it: plans it, makes the trials that are missing, records them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { ExperimentError } from '../record/errors.js';
import type { GuardMechanism } from '../record/words.js';
import { currentCommit, versions } from '../run/context.js';
import { type CampaignLane, programDigest } from './lane.js';
import { rate } from './statistics.js';
import { PLAN_FILE, planDifferences, readPlan, Records, writePlan } from './store.js';
import { stratumOf, subjectOf } from './subjects.js';
import { isHarm, type Plan, type StopRule, type Stratum, type TrialRecord } from './words.js';

export interface CampaignOptions {
  readonly seed: number;
  readonly count: number;
  readonly mechanisms: readonly GuardMechanism[];
  readonly planted: number;
  readonly until: StopRule | null;
}

/** [from, to) of shard `part` of `parts`, which count from 1. */
export function shardRange(count: number, part: number, parts: number): readonly [number, number] {
  return [Math.floor(((part - 1) * count) / parts), Math.floor((part * count) / parts)];
}

/** The lines that a warm process begins with. */
function head(plan: Plan, mechanism: GuardMechanism, limitMs: number): string {
  const strata = plan.strata.map(({ name, ranges }) => `stratum ${name} ${ranges}`.trimEnd());
  const lines = [`seed ${plan.seed}`, `planted ${plan.planted}`, `limit ${limitMs}`, ...strata, `check ${plan.digest}`];
  return `mechanism ${mechanism}\n${lines.join('\n')}\n`;
}

function refusal(line: string): string | undefined {
  return (JSON.parse(line) as { readonly refused?: string }).refused;
}

interface Layout {
  readonly digest: string;
  readonly strata: readonly Stratum[];
}

/** The strata of a process, as they are in the middle of its callout. */
async function readLayout(lane: CampaignLane, seed: number): Promise<Layout> {
  let answer: string | undefined;
  await lane.run(`mechanism flag\nseed ${seed}\nlayout\n`, (line) => {
    answer = line;
  });
  if (answer === undefined) throw new ExperimentError('the program of the campaign says nothing');
  const refused = refusal(answer);
  if (refused !== undefined) throw new ExperimentError(`the program of the campaign refuses: ${refused}`);
  const layout = JSON.parse(answer) as Layout;
  if (layout.strata.map(({ name }) => name).join() !== lane.subject.strata.join())
    throw new ExperimentError('the program of the campaign has other strata: build it again');
  return layout;
}

/** Where the layout is a matter of chance, the one that is seen twice first: a rare one would be refused ever after. */
async function usualLayout(lane: CampaignLane, seed: number): Promise<Layout> {
  const seen = new Set<string>();
  for (let tried = 1; ; tried++) {
    const layout = await readLayout(lane, seed);
    if (lane.subject.tries === 1 || seen.has(layout.digest) || tried > lane.subject.tries) return layout;
    seen.add(layout.digest);
  }
}

/** What a plan says besides the layout of memory. */
function planHead(lane: CampaignLane, options: CampaignOptions): Omit<Plan, keyof Layout> {
  return {
    schema: 1,
    ...(lane.subject.process === 'node' ? { process: 'node' as const } : {}),
    ...options,
    lane: lane.name,
    kernel: lane.kernel,
    cpu: lane.cpu,
    version: versions()['turnkey'] ?? 'unknown',
    commit: currentCommit(),
    program: programDigest(lane.subject),
  };
}

/** Reads the strata from a process and fixes all else. */
export async function makePlan(lane: CampaignLane, options: CampaignOptions): Promise<Plan> {
  const { digest, strata } = await usualLayout(lane, options.seed);
  return { ...planHead(lane, options), digest, strata };
}

/** The plan of a directory where it has one, which must be the one asked for; else a new one. */
export async function planFor(directory: string, lane: CampaignLane, options: CampaignOptions): Promise<Plan> {
  if (!existsSync(join(directory, PLAN_FILE))) {
    const plan = await makePlan(lane, options);
    writePlan(directory, plan);
    return plan;
  }
  const old = readPlan(directory);
  const { version, commit, digest, strata } = old;
  // Every warm process holds its memory against the plan's layout. A commit or a release that changes no trial leaves a
  // campaign as it is: the program's digest tells. More faults are the same and more, unless a rule was to end them.
  const asked: Plan = { ...planHead(lane, options), version, commit, digest, strata };
  const differences = planDifferences(old, asked);
  const isLonger = differences.join() === 'count' && asked.count > old.count && old.until === null;
  if (isLonger) writePlan(directory, asked);
  else if (differences.length > 0)
    throw new ExperimentError(`${directory} holds another campaign: ${differences.join(', ')} differ`);
  return asked;
}

type Ranges = readonly (readonly [from: number, to: number])[];

interface Chunk {
  readonly mechanism: GuardMechanism;
  readonly from: number;
  readonly to: number;
}

/** Whether the rule lets the campaign end: every interval is narrow enough. */
export class StopWatch {
  readonly #counts = new Map<string, { harm: number; of: number }>();

  take(record: TrialRecord): void {
    if (record.verdict === null) return;
    const key = `${record.mechanism} ${record.stratum}`;
    const count = this.#counts.get(key) ?? { harm: 0, of: 0 };
    this.#counts.set(key, { harm: count.harm + (isHarm(record) ? 1 : 0), of: count.of + 1 });
  }

  reached({ halfWidth }: StopRule): boolean {
    return [...this.#counts.values()].every(({ harm, of }) => {
      const { low, high } = rate(harm, of);
      return (high - low) / 2 <= halfWidth;
    });
  }
}

/** What native/campaign/serve.c says. */
const LAID_OUT_OTHERWISE = 'memory is not laid out as in the plan';

/**
 * Has a warm process make the trials of these ranges; `onLine` gets each trial's line. It starts anew where its memory
 * lies otherwise than planned, as far as that is a matter of chance for the subject.
 */
async function serve(
  lane: CampaignLane,
  plan: Plan,
  mechanism: GuardMechanism,
  ranges: Ranges,
  onLine: (line: string) => void,
): Promise<void> {
  const trials = ranges.map(([from, to]) => `trials ${from} ${to}\n`).join('');
  for (let left = lane.subject.tries; ;) {
    let refused: string | undefined;
    await lane.run(head(plan, mechanism, lane.limitMs) + trials, (line) => {
      refused ??= refusal(line);
      if (refused === undefined) onLine(line);
    });
    if (refused === undefined) return;
    if (refused !== LAID_OUT_OTHERWISE || --left === 0)
      throw new ExperimentError(`the program of the campaign refuses under ${mechanism}: ${refused}`);
  }
}

/** Makes one chunk's trials. A trial under which the warm process itself ends twice is a record without a verdict. */
async function runChunk(
  lane: CampaignLane,
  plan: Plan,
  records: Records,
  { mechanism, from, to }: Chunk,
  onRecord: (record: TrialRecord) => void,
): Promise<void> {
  for (let failedAt = -1; ;) {
    const missing = records.done.missing(mechanism, from, to);
    if (missing.length === 0) return;
    await serve(lane, plan, mechanism, missing, (line) => {
      records.append([line]).forEach(onRecord);
    });
    const [next] = records.done.missing(mechanism, from, to);
    if (next === undefined) return;
    const [index] = next;
    if (failedAt === index) {
      const subject = subjectOf(plan);
      const stratum = subject.strata[stratumOf(subject, index)] ?? '';
      const lost: TrialRecord = {
        index,
        mechanism,
        stratum,
        moment: '',
        means: '',
        address: '0x0',
        bytes: 0,
        verdict: null,
        end: null,
        image: null,
        unit: -2,
        problem: 'the process that makes the trials ended twice',
      };
      records.append([JSON.stringify(lost)]).forEach(onRecord);
    }
    failedAt = index;
  }
}

/**
 * Makes every trial of [from, to) that is not recorded yet, under each mechanism. Returns how many faults the campaign
 * has come to: fewer than planned where its rule has ended it.
 */
export async function runTrials(
  lane: CampaignLane,
  plan: Plan,
  directory: string,
  [from, to]: readonly [number, number],
  onRecord: (record: TrialRecord) => void = () => undefined,
): Promise<number> {
  const records = new Records(directory, plan);
  // without a rule the whole is one block
  const block = plan.until === null ? to - from : plan.until.lookEvery * subjectOf(plan).strata.length;
  for (let start = from; start < to; start += block) {
    const end = Math.min(start + block, to);
    const chunks: Chunk[] = [];
    for (let at = start; at < end; at += lane.chunk)
      for (const mechanism of plan.mechanisms) chunks.push({ mechanism, from: at, to: Math.min(at + lane.chunk, end) });
    const worker = async (): Promise<void> => {
      for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift())
        await runChunk(lane, plan, records, chunk, onRecord);
    };
    await Promise.all(Array.from({ length: lane.processors }, worker));
    if (plan.until === null) continue;
    const watch = new StopWatch();
    records.each((record) => {
      watch.take(record);
    });
    if (watch.reached(plan.until)) return end;
  }
  return to;
}

/** Makes the trials of these ranges of indices alone, unrecorded. */
export async function trialsOf(
  lane: CampaignLane,
  plan: Plan,
  mechanism: GuardMechanism,
  ranges: Ranges,
): Promise<readonly TrialRecord[]> {
  const records: TrialRecord[] = [];
  await serve(lane, plan, mechanism, ranges, (line) => records.push(JSON.parse(line) as TrialRecord));
  return records;
}

/** Makes one trial again. */
export async function replay(
  lane: CampaignLane,
  plan: Plan,
  index: number,
  mechanism: GuardMechanism,
): Promise<TrialRecord> {
  const [record] = await trialsOf(lane, plan, mechanism, [[index, index + 1]]);
  if (record === undefined) throw new ExperimentError('the process that makes the trials ended');
  return record;
}
