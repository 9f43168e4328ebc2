/**
 * A campaign's outcomes in memory, a byte a trial, and packed to be kept: campaign.json.br holds the plan and one
 * character for each fault. What is not kept comes back by a replay.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

import { ExperimentError } from '../../record/errors.js';
import { squeezed, writeWhole } from '../../record/store.js';
import { VERDICTS } from '../../record/words.js';
import { eachRecord, PLAN_FILE, readPlan } from '../store.js';
import { stratumOf, subjectOf } from '../subjects.js';
import { ENDS, type Plan, type TrialRecord } from '../words.js';

export const PACKED_CAMPAIGN = 'campaign.json.br';

type Outcome = Pick<TrialRecord, 'verdict' | 'end' | 'image'>;

/** Time from fault to death: bins of half a decade from 1 us, the first one below, the last above. */
export const DEATH_BINS = 13;

export interface Campaign {
  readonly plan: Plan;
  /** For each mechanism, in the plan's order, a code for each index: 0 missing, 1 no verdict, else an outcome. */
  readonly codes: readonly Uint8Array[];
  /** For each mechanism, deaths and hangs by time. Times mean something in the native lane alone. */
  readonly deaths: readonly number[][];
  /** For each mechanism, deaths and hangs by the unit of work that was not done: the callout, then the aftermath's. */
  readonly units: readonly number[][];
}

/** Codes begin at 2: verdict, end and image as digits. */
function encode({ verdict, end, image }: Outcome): number {
  if (verdict === null || end === null) return 1;
  return 2 + (VERDICTS.indexOf(verdict) * ENDS.length + ENDS.indexOf(end)) * 2 + (image === 'differs' ? 1 : 0);
}

/** What a code stands for; undefined where no verdict is known. */
export function decode(code: number): Outcome | undefined {
  if (code < 2) return undefined;
  const digits = (code - 2) >> 1;
  return {
    verdict: VERDICTS[Math.floor(digits / ENDS.length)] ?? null,
    end: ENDS[digits % ENDS.length] ?? null,
    image: (code - 2) % 2 === 1 ? 'differs' : 'equal',
  };
}

interface Packed extends Omit<Campaign, 'codes'> {
  /** What faults came to, each once: a character for each mechanism. */
  readonly outcomes: readonly string[];
  /** A character for each fault, stratum by stratum: which of them. Like follows like, so that it packs well. */
  readonly faults: string;
}

/** Characters from '!' on. */
const FIRST = 0x21;

const lettersOf = (numbers: readonly number[]): string =>
  numbers.map((number) => String.fromCharCode(number + FIRST)).join('');
const numberAt = (letters: string, at: number): number => letters.charCodeAt(at) - FIRST;

/** All indices, stratum by stratum. */
function byStratum(plan: Plan): readonly number[] {
  const subject = subjectOf(plan);
  const strata = plan.strata.map((): number[] => []);
  for (let index = 0; index < plan.count; index++) strata[stratumOf(subject, index)]?.push(index);
  return strata.flat();
}

function fromRecords(directory: string): Campaign {
  const plan = readPlan(directory);
  const codes = plan.mechanisms.map(() => new Uint8Array(plan.count));
  const deaths = plan.mechanisms.map(() => new Array<number>(DEATH_BINS).fill(0));
  const units = plan.mechanisms.map(() => new Array<number>(4).fill(0));
  eachRecord(directory, (record) => {
    const at = plan.mechanisms.indexOf(record.mechanism);
    const own = codes[at];
    if (own === undefined) return;
    own[record.index] = encode(record);
    if (record.diedNs === undefined) return;
    const bin = Math.max(0, Math.min(DEATH_BINS - 1, Math.ceil(2 * Math.log10(record.diedNs / 1000))));
    const times = deaths[at];
    if (times !== undefined) times[bin] = (times[bin] ?? 0) + 1;
    const unit = Math.max(0, Math.min(3, record.unit + 2));
    const work = units[at];
    if (work !== undefined) work[unit] = (work[unit] ?? 0) + 1;
  });
  return { plan, codes, deaths, units };
}

/** Whether a directory holds a campaign, as records or packed. */
export function holdsCampaign(directory: string): boolean {
  return [PLAN_FILE, PACKED_CAMPAIGN].some((name) => existsSync(join(directory, name)));
}

/** Reads a campaign, from its records or packed. @throws ExperimentError */
export function readCampaign(directory: string): Campaign {
  if (existsSync(join(directory, PLAN_FILE))) return fromRecords(directory);
  const path = join(directory, PACKED_CAMPAIGN);
  if (!existsSync(path)) throw new ExperimentError(`${directory} holds no campaign`);
  const text = brotliDecompressSync(readFileSync(path)).toString('utf8');
  const { outcomes, faults, ...kept } = JSON.parse(text) as Packed;
  const codes = kept.plan.mechanisms.map(() => new Uint8Array(kept.plan.count));
  for (const [at, index] of byStratum(kept.plan).entries()) {
    const outcome = outcomes[numberAt(faults, at)] ?? '';
    for (const [mechanism, own] of codes.entries()) own[index] = numberAt(outcome, mechanism);
  }
  return { ...kept, codes };
}

/** Writes DIR/campaign.json.br. Returns the path. */
export function writePackedCampaign(directory: string, campaign: Campaign): string {
  const { codes, ...rest } = campaign;
  const outcomes = new Map<string, number>();
  const faults = byStratum(campaign.plan).map((index) => {
    const outcome = lettersOf(codes.map((own) => own[index] ?? 0));
    const number = outcomes.get(outcome) ?? outcomes.size;
    outcomes.set(outcome, number);
    return number;
  });
  const kept: Packed = { ...rest, outcomes: [...outcomes.keys()], faults: lettersOf(faults) };
  const path = join(directory, PACKED_CAMPAIGN);
  writeWhole(path, squeezed(`${JSON.stringify(kept)}\n`));
  return path;
}

/** Calls `take` with each trial that has a verdict. */
export function eachOutcome(
  campaign: Campaign,
  mechanism: number,
  take: (index: number, outcome: Outcome, stratum: number) => void,
): void {
  const subject = subjectOf(campaign.plan);
  campaign.codes[mechanism]?.forEach((code, index) => {
    const outcome = decode(code);
    if (outcome !== undefined) take(index, outcome, stratumOf(subject, index));
  });
}
