/**
 * Figures that documents quote, each by a key of words: `RUN WHAT…`, where RUN is a directory of results/ and WHAT one
 * of
 *
 *   cost EXPERIMENT MECHANISM LANE [NAME=VALUE…]  the median of the row with these parameters, with its unit; of the
 * whole where it has parts. A number alone is the image's size; _ stands for a space
 *   ratio EXPERIMENT MECHANISM LANE [NAME=VALUE…] how many times the unguarded cost, as reports say it; rows are picked
 * likewise
 *   verdict CASE MECHANISM LANE                   the verdict of a corruption case (writes denied, one key for the
 * image)
 *   verdicts MECHANISM VERDICT                    how many cases of the emulated lane have it (writes denied, one key
 * for the image)
 *   differences SUITE LANE MECHANISM              of a guarded program's tests, how many went otherwise than unguarded
 *   rate POPULATION MECHANISM                     of a campaign: harm to `image` or `program`, `damaged` for stores
 * that changed the image, or `felt` for those after which the program went wrong, with its interval; only where the
 * caller can read campaigns
 */
import { join } from 'node:path';

import { inProject } from '../record/paths.js';
import type { CorruptionRecord, Run } from '../record/records.js';
import { readRun } from '../record/store.js';
import { ratioOf } from './findings/baseline.js';
import { type Cost, costCells, isWhole, sizeOf } from './findings/costs.js';
import { formatCount, formatNs, formatTimes } from './findings/format.js';
import { corruptionOf, variantOf } from './findings/records.js';
import { recordedDifferences } from './host-scores.js';

/** Whether a row has these parameters: NAME=VALUE, a number alone is the image's size, _ stands for a space. */
function isVariation(cost: Cost, wanted: readonly string[]): boolean {
  return wanted.every((word) => {
    if (!word.includes('=')) return String(sizeOf(cost)) === word;
    const [name = '', value] = word.split('=');
    return String(cost.varied[name]) === value?.replaceAll('_', ' ');
  });
}

function only<T>(entries: readonly T[], key: string): T {
  const [first] = entries;
  if (first === undefined || entries.length > 1) throw new Error(`${key}: ${entries.length} records`);
  return first;
}

/** A recorded run, with its costs joined once for all figures. */
class RecordedRun {
  readonly #plain: readonly CorruptionRecord[];
  readonly #costs: readonly Cost[];

  constructor(run: Run) {
    this.#plain = corruptionOf(run).filter((record) => variantOf(record) === '');
    this.#costs = costCells(run);
  }

  #cost(key: string, [experiment, mechanism, lane, ...wanted]: readonly string[]): Cost {
    return only(
      this.#costs.filter(
        (cost) =>
          cost.experiment.name === experiment &&
          cost.mechanism === mechanism &&
          cost.lane === lane &&
          isVariation(cost, wanted) &&
          isWhole(cost),
      ),
      key,
    );
  }

  /** @throws Error where no record, or more than one, has it */
  figure(key: string, what: string, words: readonly string[]): string {
    switch (what) {
      case 'cost': {
        const { unit, value } = this.#cost(key, words);
        return unit === 'ns' ? formatNs(value) : `${formatCount(value)} instructions`;
      }
      case 'ratio': {
        const ratio = ratioOf(this.#cost(key, words), this.#costs);
        if (ratio === null) throw new Error(`${key}: nothing to set it beside`);
        return formatTimes(ratio.ratio);
      }
      case 'verdict': {
        const [name, mechanism, lane] = words;
        return only(
          this.#plain.filter(
            (record) => record.case === name && record.mechanism === mechanism && record.lane === lane,
          ),
          key,
        ).verdict;
      }
      case 'verdicts': {
        const [mechanism, verdict] = words;
        return String(
          this.#plain.filter(
            (record) => record.lane === 'emulated' && record.mechanism === mechanism && record.verdict === verdict,
          ).length,
        );
      }
      default:
        throw new Error(`${key}: unknown kind of figure`);
    }
  }
}

/** Answers the words after `rate` for a campaign's directory. */
export type RateReader = (directory: string, words: readonly string[]) => string;

/** The recorded runs, each read once. */
export class Figures {
  readonly #runs = new Map<string, RecordedRun>();
  readonly #rate: RateReader | undefined;

  constructor(rate?: RateReader) {
    this.#rate = rate;
  }

  /** The text for a key. @throws Error where no record, or more than one, has it */
  recorded(key: string): string {
    const [name = '', what = '', ...words] = key.split(' ');
    if (what === 'rate' && this.#rate !== undefined) return this.#rate(inProject(join('results', name)), words);
    if (what === 'differences') return recordedDifferences(name, words);
    const run = this.#runs.get(name) ?? new RecordedRun(readRun(inProject(join('results', name))));
    this.#runs.set(name, run);
    return run.figure(key, what, words);
  }
}
