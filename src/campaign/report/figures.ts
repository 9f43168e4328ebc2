/** What every form of a campaign's report shows, worked out once. Pure. */
import type { GuardMechanism } from '../../record/words.js';
import { drawPosition, momentOf } from '../draw.js';
import { mcnemar, overStrata, type Rate, rate } from '../statistics.js';
import { IMAGE_STRATA, isHarm, MOMENTS, PROGRAM_STRATA, STRATA, type StratumName } from '../words.js';
import { type Campaign, decode, eachOutcome } from './outcomes.js';

/** How the sentence names a mechanism. */
export const MECHANISM_WORDS: Readonly<Partial<Record<GuardMechanism, string>>> = {
  none: 'with nothing',
  flag: 'with the trap alone',
  'mprotect-range': 'under mprotect',
  pkeys: 'under keys',
};
export const wordsOf = (mechanism: GuardMechanism): string => MECHANISM_WORDS[mechanism] ?? `under ${mechanism}`;

export interface MechanismFigures {
  readonly mechanism: GuardMechanism;
  readonly trials: number;
  readonly unmade: number;
  /** Harm over the image, and over all memory that the program uses, weighed by bytes. */
  readonly image: Rate;
  readonly program: Rate;
  /** Of stores into the image: the image was changed. */
  readonly damaged: Rate;
  readonly strata: readonly { readonly name: StratumName; readonly harm: Rate }[];
  /** Of faults into the image's strata, by moment. */
  readonly moments: readonly Rate[];
}

export interface Pair {
  readonly first: GuardMechanism;
  readonly second: GuardMechanism;
  readonly faults: number;
  readonly onlyFirst: number;
  readonly onlySecond: number;
  readonly p: number;
}

/** Faults into a population less what each mechanism adds; every step is on the same faults. */
export interface Waterfall {
  readonly population: string;
  readonly faults: number;
  readonly steps: readonly { readonly text: string; readonly faults: number }[];
}

export interface StripCell {
  readonly faults: number;
  readonly harm: number;
  /** A fault of the cell that did harm, else any, to replay. */
  readonly example: number;
}

export interface CampaignFigures {
  readonly campaign: Campaign;
  readonly mechanisms: readonly MechanismFigures[];
  readonly pairs: readonly Pair[];
  readonly waterfalls: readonly Waterfall[];
  /** For each mechanism, for each stratum with bytes, cells in the order of addresses. */
  readonly strip: readonly (readonly { readonly name: StratumName; readonly cells: readonly StripCell[] }[])[];
}

const CELLS = 24;

function mechanismFigures(campaign: Campaign, at: number): MechanismFigures {
  const { plan } = campaign;
  const harm = STRATA.map(() => 0);
  const of = STRATA.map(() => 0);
  const changed = STRATA.map(() => 0);
  const byMoment = MOMENTS.map(() => ({ harm: 0, of: 0 }));
  let trials = 0;
  eachOutcome(campaign, at, (index, outcome, stratum) => {
    trials++;
    of[stratum] = (of[stratum] ?? 0) + 1;
    if (isHarm(outcome)) harm[stratum] = (harm[stratum] ?? 0) + 1;
    const moment = stratum < IMAGE_STRATA.length ? byMoment[momentOf(plan.seed, index)] : undefined;
    if (moment !== undefined) {
      moment.of++;
      if (isHarm(outcome)) moment.harm++;
    }
    if (outcome.image === 'differs') changed[stratum] = (changed[stratum] ?? 0) + 1;
  });
  const over = (names: readonly StratumName[], counts: readonly number[]): Rate =>
    overStrata(
      names.map((name) => {
        const stratum = STRATA.indexOf(name);
        return { count: counts[stratum] ?? 0, of: of[stratum] ?? 0, weight: plan.strata[stratum]?.bytes ?? 0 };
      }),
    );
  return {
    mechanism: plan.mechanisms[at] ?? 'none',
    trials,
    unmade: campaign.codes[at]?.reduce((sum, code) => sum + (code === 1 ? 1 : 0), 0) ?? 0,
    image: over(IMAGE_STRATA, harm),
    program: over(PROGRAM_STRATA, harm),
    damaged: over(IMAGE_STRATA, changed),
    strata: STRATA.map((name, stratum) => ({ name, harm: rate(harm[stratum] ?? 0, of[stratum] ?? 0) })),
    moments: byMoment.map((one) => rate(one.harm, one.of)),
  };
}

/** Harm of a fault under a mechanism; undefined where no verdict is known. */
function harmOf(campaign: Campaign, mechanism: number, index: number): boolean | undefined {
  const outcome = decode(campaign.codes[mechanism]?.[index] ?? 0);
  return outcome === undefined ? undefined : isHarm(outcome);
}

function pairsOf(campaign: Campaign): readonly Pair[] {
  const { mechanisms, count } = campaign.plan;
  return mechanisms.slice(1).map((second, before) => {
    let [faults, onlyFirst, onlySecond] = [0, 0, 0];
    for (let index = 0; index < count; index++) {
      const [a, b] = [harmOf(campaign, before, index), harmOf(campaign, before + 1, index)];
      if (a === undefined || b === undefined) continue;
      faults++;
      if (a && !b) onlyFirst++;
      if (b && !a) onlySecond++;
    }
    const first = mechanisms[before] ?? 'none';
    return { first, second, faults, onlyFirst, onlySecond, p: mcnemar(onlyFirst, onlySecond) };
  });
}

function waterfall(campaign: Campaign, population: string, names: readonly StratumName[]): Waterfall {
  const { mechanisms, count } = campaign.plan;
  const chosen = new Set(names.map((name) => STRATA.indexOf(name)));
  const caught = mechanisms.map(() => 0);
  let [faults, left] = [0, 0];
  for (let index = 0; index < count; index++) {
    if (!chosen.has(index % STRATA.length)) continue;
    const harm = mechanisms.map((_, at) => harmOf(campaign, at, index));
    if (harm.includes(undefined)) continue;
    faults++;
    // caught by the first mechanism from which on none lets it do harm
    const last = harm.lastIndexOf(true);
    if (last === mechanisms.length - 1) left++;
    else caught[last + 1] = (caught[last + 1] ?? 0) + 1;
  }
  const steps = mechanisms.map((mechanism, at) => ({
    text: at === 0 ? 'do no harm with nothing' : `are caught ${wordsOf(mechanism)}`,
    faults: caught[at] ?? 0,
  }));
  return { population, faults, steps: [...steps, { text: 'do harm still', faults: left }] };
}

function stripOf(campaign: Campaign, at: number) {
  const { plan } = campaign;
  const strata = plan.strata.map(({ bytes }) =>
    Array.from({ length: bytes === 0 ? 0 : CELLS }, () => ({ faults: 0, harm: 0, example: -1 })),
  );
  eachOutcome(campaign, at, (index, outcome, stratum) => {
    const bytes = plan.strata[stratum]?.bytes ?? 0;
    if (bytes === 0) return;
    const cell = strata[stratum]?.[Math.floor((drawPosition(plan.seed, index, bytes) / bytes) * CELLS)];
    if (cell === undefined) return;
    const harm = isHarm(outcome);
    if (cell.example < 0 || (harm && cell.harm === 0)) cell.example = index;
    cell.faults++;
    if (harm) cell.harm++;
  });
  return strata.flatMap((cells, stratum) => (cells.length === 0 ? [] : [{ name: STRATA[stratum] ?? 'eden', cells }]));
}

export function campaignFigures(campaign: Campaign): CampaignFigures {
  const at = campaign.plan.mechanisms.map((_, index) => index);
  return {
    campaign,
    mechanisms: at.map((index) => mechanismFigures(campaign, index)),
    pairs: pairsOf(campaign),
    waterfalls: [
      waterfall(campaign, 'faults into the image', IMAGE_STRATA),
      waterfall(campaign, 'faults into all strata, as many in each', STRATA),
    ],
    strip: at.map((index) => stripOf(campaign, index)),
  };
}

/** 12.3 % (11.9 to 12.7): the estimate and its interval. */
export function rateText({ estimate, low, high, count }: Rate): string {
  const percent = (value: number): string => {
    const hundred = value * 100;
    return hundred >= 10 ? hundred.toFixed(1) : hundred >= 0.1 ? hundred.toFixed(2) : hundred.toFixed(3);
  };
  if (count === 0) return `none seen (at most ${percent(high)} %)`;
  return `${percent(estimate)} % (${percent(low)} to ${percent(high)})`;
}

/** The campaign's sentence. */
export function sentence({ mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((one) => `${rateText(one.image)} ${wordsOf(one.mechanism)}`);
  return `Of random stray stores into the image, these did harm: ${said.join('; ')}.`;
}
/** Harm without the deaths that left the image as it was. */
export function damagedSentence({ mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((one) => `${rateText(one.damaged)} ${wordsOf(one.mechanism)}`);
  return `The image itself was changed by: ${said.join('; ')}.`;
}
export function programSentence({ mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((one) => `${rateText(one.program)} ${wordsOf(one.mechanism)}`);
  return `Into any byte of memory that the program uses, its image included: ${said.join('; ')}.`;
}

/** The command that makes a fault again. */
export function replayText({ plan }: Campaign, index: number, mechanism: string): string {
  return `turnkey campaign replay --seed ${plan.seed} --index ${index} --mechanism ${mechanism} --lane ${plan.lane}`;
}
