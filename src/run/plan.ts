/**
 * What a run will do, decided before anything is run: which trials in which lane, and which cells cannot be had, and
 * why. Pure.
 */
import type {
  CostExperiment,
  CostParameters,
  CostRow,
  CostSetting,
  GroupedCase,
  HonestCase,
} from '../experiment/case.js';
import type { Catalogue, Named } from '../experiment/catalogue.js';
import { cannotHarden } from '../experiment/hardened.js';
import { cannotKey } from '../experiment/virtual.js';
import type { SkippedRecord } from '../record/records.js';
import {
  closesImage,
  type CostLane,
  type Denial,
  GUARD_MECHANISMS,
  type GuardMechanism,
  type Hardened,
  type KeyMode,
  type Lane,
  type Mechanism,
  needsKeys,
} from '../record/words.js';

/** A lane that the run has. */
export interface PlannedLane {
  readonly lane: Lane;
  readonly keys: boolean;
  /** Why there are no keys; null where there are. */
  readonly keysReason: string | null;
  readonly kernel: string;
}

interface PlannedTrialBase {
  readonly name: string;
  readonly lane: Lane;
  readonly mechanism: GuardMechanism;
  readonly deny: Denial;
  readonly keys: KeyMode;
  readonly harden?: Hardened | undefined;
  readonly keysHere: boolean;
  readonly seed: number;
  readonly repeat: number;
  readonly kernel: string;
}
export interface PlannedCorruption extends PlannedTrialBase {
  readonly kind: 'corruption';
  readonly experiment: GroupedCase;
}
export interface PlannedHonest extends PlannedTrialBase {
  readonly kind: 'honest';
  readonly experiment: HonestCase;
}
export type PlannedTrial = PlannedCorruption | PlannedHonest;

/** One row of a cost experiment, to be measured. */
export interface PlannedCost {
  readonly name: string;
  /** The lane it is measured in. */
  readonly lane: CostLane;
  readonly experiment: CostExperiment;
  readonly row: CostRow;
}

export interface Plan {
  readonly trials: readonly PlannedTrial[];
  readonly costs: readonly PlannedCost[];
  readonly skipped: readonly SkippedRecord[];
}

export interface PlanOptions {
  readonly lanes: readonly PlannedLane[];
  readonly mechanisms: readonly GuardMechanism[];
  readonly seed: number;
  readonly repeat: number;
  /** Run only the quick set of corruption cases, without variants. */
  readonly quickCases?: boolean;
  /** The whole matrix, and no more: mprotect-naive only for the cases about threads, whose hole it shows. */
  readonly full?: boolean;
  /**
   * Trials only of mechanisms that need keys, and of `none` beside them, save for the cases that are quick everywhere:
   * another lane of the same run has the rest.
   */
  readonly onlyKeys?: boolean;
  /** Measure only the quick rows of cost experiments. */
  readonly quickCosts: boolean;
  /** Processors of the machine that is timed. */
  readonly cores: number;
  /** Only this denial, and these keys; where both are missing, the variants of `variantsOf`. */
  readonly deny?: Denial;
  readonly keys?: KeyMode;
  /** Also under keys hardened in these ways. */
  readonly harden?: readonly Hardened[];
  /** Only these experiments; all where missing. */
  readonly only?: (family: 'corruption' | 'honest' | 'cost', name: string) => boolean;
}

/**
 * A deterministic number from a seed and a name, below 2^31: FNV-1a. A cell's seed does not depend on what else is run.
 */
export function deriveSeed(seed: number, name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${seed}/${name}`)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash & 0x7fffffff;
}

/** A denial and a way of keying, with which a mechanism is tried. */
export interface Variant {
  readonly deny: Denial;
  readonly keys: KeyMode;
  readonly harden?: Hardened | undefined;
}

/** How a corruption case is varied beyond its mechanism. */
export function variantsOf(
  experiment: GroupedCase,
  mechanism: GuardMechanism,
  options: Pick<PlanOptions, 'deny' | 'keys' | 'quickCases' | 'harden'>,
): readonly Variant[] {
  const { harden = [] } = options;
  const plain = plainVariants(experiment, mechanism, options);
  if (mechanism !== 'pkeys' && mechanism !== 'flag') return plain;
  const keys: KeyMode = experiment.group === 'virtual keys' ? 'virtual' : 'image';
  return [...plain, ...harden.map((how): Variant => ({ deny: options.deny ?? 'write', keys, harden: how }))];
}

function plainVariants(
  experiment: GroupedCase,
  mechanism: GuardMechanism,
  options: Pick<PlanOptions, 'deny' | 'keys' | 'quickCases'>,
): readonly Variant[] {
  if (experiment.group === 'virtual keys') return [{ deny: options.deny ?? 'write', keys: 'virtual' }];
  if (options.deny !== undefined || options.keys !== undefined)
    return [{ deny: options.deny ?? 'write', keys: options.keys ?? 'image' }];
  const usual: Variant = { deny: 'write', keys: 'image' };
  const closed: Variant = { deny: 'access', keys: 'image' };
  if (experiment.group === 'reads' && closesImage(mechanism)) return [usual, closed];
  return mechanism === 'pkeys' && options.quickCases !== true
    ? [usual, closed, { deny: 'write', keys: 'space' }]
    : [usual];
}

/** Parameters as one word: `pages=16,touched=1`. */
export function costWord(parameters: CostParameters): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}=${typeof value === 'boolean' ? Number(value) : value}`)
    .join(',');
}

/** A row's name in messages and skipped records. */
export function costRowName(experiment: string, row: CostRow): string {
  const words = Object.entries(row.parameters)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
  return words === '' ? experiment : `${experiment}, ${words}`;
}

/** The rows that are measured in the same rounds, in the order in which they were planned. */
export function costGroups(costs: readonly PlannedCost[]): readonly (readonly PlannedCost[])[] {
  const groups = new Map<string, PlannedCost[]>();
  for (const cost of costs) {
    const key = JSON.stringify([cost.name, cost.row.together ?? costWord(cost.row.parameters)]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [cost]);
    else group.push(cost);
  }
  return [...groups.values()];
}

/** Makes the plan. */
export function makePlan(catalogue: Catalogue, options: PlanOptions): Plan {
  const trials: PlannedTrial[] = [];
  const costs: PlannedCost[] = [];
  const skipped: SkippedRecord[] = [];
  const deny = options.deny ?? 'write';
  const wanted = <T>(family: 'corruption' | 'honest' | 'cost', list: readonly Named<T>[]): readonly Named<T>[] =>
    list.filter(({ name }) => options.only?.(family, name) ?? true);
  for (const planned of options.lanes) {
    const { lane, kernel, keys: keysHere } = planned;
    const noKeys = (mechanism: Mechanism): string | undefined =>
      needsKeys(mechanism) && !planned.keys ? (planned.keysReason ?? 'this lane has no protection keys') : undefined;
    for (const mechanism of options.mechanisms) {
      const elsewhere = options.onlyKeys === true && !needsKeys(mechanism) && mechanism !== 'none';
      for (const { name, experiment } of wanted('corruption', catalogue.corruption)) {
        if (options.quickCases === true && experiment.quick === undefined) continue;
        if (elsewhere && experiment.quick !== 'everywhere') continue;
        if (options.full === true && mechanism === 'mprotect-naive' && experiment.group !== 'time and threads')
          continue;
        let skippedAll: string | undefined;
        let count = 0;
        for (const variant of variantsOf(experiment, mechanism, options)) {
          const setting = { mechanism, lane, ...variant, keysHere, kernel };
          const reason = noKeys(mechanism) ?? cannotKey(setting) ?? cannotHarden(setting) ?? experiment.skip?.(setting);
          if (reason !== undefined) skippedAll = reason;
          else
            for (let repeat = 0; repeat < options.repeat; repeat++) {
              count++;
              // The seed belongs to the case and repetition: every mechanism meets the same damage.
              trials.push({
                kind: 'corruption',
                name,
                lane,
                mechanism,
                ...variant,
                keysHere,
                seed: deriveSeed(options.seed, `${name}/${repeat}`),
                repeat,
                kernel,
                experiment,
              });
            }
        }
        if (skippedAll !== undefined && count === 0)
          skipped.push({ kind: 'skipped', of: 'corruption', name, mechanism, lane, reason: skippedAll });
      }
      for (const { name, experiment } of wanted('honest', catalogue.honest)) {
        if (elsewhere) continue;
        const reason = noKeys(mechanism);
        if (reason !== undefined) {
          skipped.push({ kind: 'skipped', of: 'honest', name, mechanism, lane, reason });
          continue;
        }
        const ways = mechanism === 'pkeys' || mechanism === 'flag' ? (options.harden ?? []) : [];
        for (const harden of [undefined, ...ways.filter((way) => cannotHarden({ harden: way, kernel }) === undefined)])
          trials.push({
            kind: 'honest',
            name,
            lane,
            mechanism,
            deny,
            keys: 'image',
            ...(harden === undefined ? {} : { harden }),
            keysHere,
            seed: deriveSeed(options.seed, 'honest'),
            repeat: 0,
            kernel,
            experiment,
          });
      }
    }
    if (lane !== 'native' && lane !== 'emulated') continue;
    for (const { name, experiment } of wanted<CostExperiment>('cost', catalogue.cost)) {
      if (lane === 'emulated' && 'measure' in experiment) continue; // nothing from JavaScript is counted
      const setting: CostSetting = { lane, quick: options.quickCosts, keys: planned.keys, cores: options.cores };
      const told = new Set<Mechanism>();
      for (const row of experiment.rows(setting)) {
        const { mechanism } = row;
        if (
          (GUARD_MECHANISMS as readonly Mechanism[]).includes(mechanism) &&
          !(options.mechanisms as readonly Mechanism[]).includes(mechanism)
        )
          continue;
        const without = noKeys(mechanism);
        if (without !== undefined) {
          if (!told.has(mechanism))
            skipped.push({ kind: 'skipped', of: 'cost', name, mechanism, lane, reason: without });
          told.add(mechanism);
        } else if (row.skip !== undefined)
          skipped.push({
            kind: 'skipped',
            of: 'cost',
            name: costRowName(name, row),
            mechanism,
            lane: row.lane ?? lane,
            reason: row.skip,
          });
        else costs.push({ name, lane, experiment, row });
      }
    }
  }
  return { trials, costs, skipped };
}
