/** What every form of a campaign's report shows, worked out once. Pure. */
import type { GuardMechanism } from '../../record/words.js';
import { drawPosition, momentOf } from '../draw.js';
import { mcnemar, overStrata, type Rate, rate } from '../statistics.js';
import { stratumOf, subjectOf } from '../subjects.js';
import { isHarm, MOMENTS } from '../words.js';
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
  /** The share of stores into the image that changed it. */
  readonly damaged: Rate;
  /** The share of stores into the image after which the program crashed, hung or answered wrongly. */
  readonly felt: Rate;
  readonly strata: readonly { readonly name: string; readonly harm: Rate }[];
  /** The share of harm among faults into the image's strata, by moment. */
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
  /** The last step is what does harm still. */
  readonly steps: readonly WaterfallStep[];
}

export interface WaterfallStep {
  readonly text: string;
  readonly faults: number;
  /** Faults that are left after it: where its bar begins. */
  readonly left: number;
  readonly mechanism: GuardMechanism;
  /** A fault to make again under that mechanism; -1: there is none. */
  readonly example: number;
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
  readonly strip: readonly (readonly { readonly name: string; readonly cells: readonly StripCell[] }[])[];
}

const CELLS = 24;

function mechanismFigures(campaign: Campaign, at: number): MechanismFigures {
  const { plan } = campaign;
  const subject = subjectOf(plan);
  const harm = subject.strata.map(() => 0);
  const of = subject.strata.map(() => 0);
  const changed = subject.strata.map(() => 0);
  const wrong = subject.strata.map(() => 0);
  const byMoment = MOMENTS.map(() => ({ harm: 0, of: 0 }));
  let trials = 0;
  eachOutcome(campaign, at, (index, outcome, stratum) => {
    trials++;
    of[stratum] = (of[stratum] ?? 0) + 1;
    if (isHarm(outcome)) harm[stratum] = (harm[stratum] ?? 0) + 1;
    const moment = stratum < subject.image.length ? byMoment[momentOf(plan.seed, index)] : undefined;
    if (moment !== undefined) {
      moment.of++;
      if (isHarm(outcome)) moment.harm++;
    }
    if (isHarm({ ...outcome, image: null })) wrong[stratum] = (wrong[stratum] ?? 0) + 1;
    if (outcome.image === 'differs') changed[stratum] = (changed[stratum] ?? 0) + 1;
  });
  const over = (names: readonly string[], counts: readonly number[]): Rate =>
    overStrata(
      names.map((name) => {
        const stratum = subject.strata.indexOf(name);
        return { count: counts[stratum] ?? 0, of: of[stratum] ?? 0, weight: plan.strata[stratum]?.bytes ?? 0 };
      }),
    );
  return {
    mechanism: plan.mechanisms[at] ?? 'none',
    trials,
    unmade: campaign.codes[at]?.reduce((sum, code) => sum + (code === 1 ? 1 : 0), 0) ?? 0,
    image: over(subject.image, harm),
    program: over(subject.program, harm),
    damaged: over(subject.image, changed),
    felt: over(subject.image, wrong),
    strata: subject.strata.map((name, stratum) => ({ name, harm: rate(harm[stratum] ?? 0, of[stratum] ?? 0) })),
    moments: byMoment.map((moment) => rate(moment.harm, moment.of)),
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

function waterfall(campaign: Campaign, population: string, names: readonly string[]): Waterfall {
  const { mechanisms, count } = campaign.plan;
  const subject = subjectOf(campaign.plan);
  const chosen = new Set(names.map((name) => subject.strata.indexOf(name)));
  // what falls at each step: caught by the first mechanism from which on none lets it do harm; at the last, by none
  const fallen = [...mechanisms, 'none' as const].map((): number[] => []);
  for (let index = 0; index < count; index++) {
    if (!chosen.has(stratumOf(subject, index))) continue;
    const harm = mechanisms.map((_, at) => harmOf(campaign, at, index));
    if (!harm.includes(undefined)) fallen[harm.lastIndexOf(true) + 1]?.push(index);
  }
  const faults = fallen.flat().length;
  let left = faults;
  const steps = fallen.map((those, at) => {
    const mechanism = mechanisms[at];
    left -= those.length;
    return {
      text:
        mechanism === undefined
          ? 'do harm still'
          : at === 0
            ? 'do no harm with nothing'
            : `are caught ${wordsOf(mechanism)}`,
      faults: those.length,
      left,
      mechanism: mechanism ?? mechanisms.at(-1) ?? 'none',
      example: those[0] ?? -1,
    };
  });
  return { population, faults, steps };
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
  return strata.flatMap((cells, stratum) =>
    cells.length === 0 ? [] : [{ name: plan.strata[stratum]?.name ?? '', cells }],
  );
}

export function campaignFigures(campaign: Campaign): CampaignFigures {
  const at = campaign.plan.mechanisms.map((_, index) => index);
  const { image, strata, imageWords, favoursFirst } = subjectOf(campaign.plan);
  return {
    campaign,
    mechanisms: at.map((index) => mechanismFigures(campaign, index)),
    pairs: pairsOf(campaign),
    waterfalls: [
      waterfall(campaign, `faults into ${imageWords}`, image),
      favoursFirst
        ? waterfall(campaign, 'faults into all other strata, as many in each', strata.slice(1))
        : waterfall(campaign, 'faults into all strata, as many in each', strata),
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
export function sentence({ campaign, mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((each) => `${rateText(each.image)} ${wordsOf(each.mechanism)}`);
  return `Of random stray stores into ${subjectOf(campaign.plan).imageWords}, these did harm: ${said.join('; ')}.`;
}
/** Harm without the deaths that left the image as it was. */
export function damagedSentence({ campaign, mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((each) => `${rateText(each.damaged)} ${wordsOf(each.mechanism)}`);
  return `These changed ${subjectOf(campaign.plan).imageWords}: ${said.join('; ')}.`;
}
/** Harm that shows: damage that nobody has met yet is left out. */
export function feltSentence({ mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((each) => `${rateText(each.felt)} ${wordsOf(each.mechanism)}`);
  return `After these the program crashed, hung or answered wrongly: ${said.join('; ')}.`;
}
export function programSentence({ campaign, mechanisms }: CampaignFigures): string {
  const said = mechanisms.map((each) => `${rateText(each.program)} ${wordsOf(each.mechanism)}`);
  return `Into ${subjectOf(campaign.plan).programWords}: ${said.join('; ')}.`;
}

/** The command that makes a fault again. */
export function replayText({ plan }: Campaign, index: number, mechanism: string): string {
  const whose = plan.process === undefined ? '' : ` --process ${plan.process}`;
  const words = `--seed ${plan.seed} --index ${index} --mechanism ${mechanism} --lane ${plan.lane}`;
  return `turnkey campaign replay${whose} ${words}`;
}
