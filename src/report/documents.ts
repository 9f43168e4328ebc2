/**
 * Figures in prose, tied to recorded results: `<!--= RUN WHAT… -->text<!--/-->`, where RUN is a directory of results/
 * and WHAT one of
 *
 *   cost EXPERIMENT MECHANISM LANE [NAME=VALUE…]  the median of the row with these parameters, with its unit; of the
 * whole where it has parts. A number alone is imageBytes; _ stands for a space
 *   ratio EXPERIMENT MECHANISM LANE [NAME=VALUE…] how many times the unguarded cost, as reports say it; rows are picked
 * likewise
 *   verdict CASE MECHANISM LANE                   the verdict of a corruption case (writes denied, one key for the
 * image)
 *   verdicts MECHANISM VERDICT                    how many cases of the emulated lane have it (writes denied, one key
 * for the image)
 */
import { join } from 'node:path';

import { inProject } from '../record/paths.js';
import type { CostRecord, Run } from '../record/records.js';
import { readRun } from '../record/store.js';
import { formatCount, formatNs } from './format.js';
import { costs, ratioOf, timesText } from './html/figures.js';

/** The documents that have such figures, and how many at least. */
export const DOCUMENTS: readonly (readonly [string, number])[] = [
  ['docs/porting.md', 20],
  ['README.md', 10],
  ['docs/lua.md', 20],
];

const MARK = /<!--= (.+?) -->([^<]*)<!--\/-->/g;

/** A figure as it stands in a document, and as the records say. */
export interface Figure {
  readonly key: string;
  readonly stands: string;
  readonly recorded: string;
}

const runs = new Map<string, Run>();

function run(name: string): Run {
  let found = runs.get(name);
  if (found === undefined) {
    found = readRun(inProject(join('results', name)));
    runs.set(name, found);
  }
  return found;
}

/** Not a part of something, and not its first occurrence in a process. */
function isWhole({ part, occurrence }: CostRecord['parameters']): boolean {
  return (part === undefined || part === 'whole') && occurrence === undefined;
}

/** Whether a row has these parameters: NAME=VALUE, a number alone is imageBytes, _ stands for a space. */
function isVariation(parameters: CostRecord['parameters'], wanted: readonly string[]): boolean {
  return wanted
    .map((word) => (word.includes('=') ? word : `imageBytes=${word}`).split('='))
    .every(([name = '', value]) => String(parameters[name]) === value?.replaceAll('_', ' '));
}

/** The text for a key. Throws where no record, or more than one, has it. */
export function recorded(key: string): string {
  const [name = '', what, ...words] = key.split(' ');
  const { records } = run(name);
  const only = <T>(found: readonly T[]): T => {
    const [first] = found;
    if (first === undefined || found.length > 1) throw new Error(`${key}: ${found.length} records`);
    return first;
  };
  if (what === 'cost') {
    const [experiment, mechanism, lane, ...wanted] = words;
    const found = only(
      records.flatMap((record) =>
        record.kind === 'cost' &&
        record.experiment === experiment &&
        record.mechanism === mechanism &&
        record.lane === lane &&
        isVariation(record.parameters, wanted) &&
        isWhole(record.parameters)
          ? [record]
          : [],
      ),
    );
    return found.unit === 'ns' ? formatNs(found.median) : `${formatCount(found.median)} instructions`;
  }
  if (what === 'ratio') {
    const [experiment, mechanism, lane, ...wanted] = words;
    const all = costs(run(name));
    const ratio = ratioOf(
      only(
        all.filter(
          (cost) =>
            cost.experiment === experiment &&
            cost.mechanism === mechanism &&
            cost.lane === lane &&
            isVariation(cost.varied, wanted) &&
            isWhole(cost.varied),
        ),
      ),
      all,
    );
    if (ratio === null) throw new Error(`${key}: nothing to set it beside`);
    return timesText(ratio.ratio);
  }
  if (what === 'verdict') {
    const [of, mechanism, lane] = words;
    return only(
      records.flatMap((record) =>
        record.kind === 'corruption' &&
        record.case === of &&
        record.mechanism === mechanism &&
        record.lane === lane &&
        record.deny === 'write' &&
        record.keys !== 'space'
          ? [record]
          : [],
      ),
    ).verdict;
  }
  if (what === 'verdicts') {
    const [mechanism, verdict] = words;
    return String(
      records.filter(
        (record) =>
          record.kind === 'corruption' &&
          record.lane === 'emulated' &&
          record.deny === 'write' &&
          record.keys !== 'space' &&
          record.mechanism === mechanism &&
          record.verdict === verdict,
      ).length,
    );
  }
  throw new Error(`${key}: unknown kind of figure`);
}

/** The marked figures of a document. */
export function figures(text: string): readonly Figure[] {
  return [...text.matchAll(MARK)].map(([, key = '', stands = '']) => ({ key, stands, recorded: recorded(key) }));
}

/** The document with its marked figures as the records say. */
export function withFigures(text: string): string {
  return text.replace(MARK, (_, key: string) => `<!--= ${key} -->${recorded(key)}<!--/-->`);
}

/** Figures with a unit that stand outside of marks and code. */
export function unmarked(text: string): readonly string[] {
  const prose = text
    .replace(MARK, '')
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, '');
  return prose.match(/\b\d[\d,.]*\s*(?:ns|µs|us|ms|instructions?|instr\.|cycles|times|%|percent)(?![\w])/g) ?? [];
}
