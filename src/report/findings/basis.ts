/** What the derived tables are worked out from. Computed once for a run, by `findings`, and handed down. */
import type { MEASURED_THINGS } from '../../record/description.js';
import { ExperimentError } from '../../record/errors.js';
import type { Run, Values } from '../../record/records.js';
import { type Ratio, ratiosOf } from './baseline.js';
import { type Cost, costCells, type Headline, headlineOf } from './costs.js';
import { type KeyModel, keyModel } from './key-model.js';

export interface Basis {
  readonly run: Run;
  readonly cells: readonly Cost[];
  readonly ratios: ReadonlyMap<Cost, Ratio>;
  readonly model: KeyModel | null;
  readonly headline: Headline;
}

/** Joins records to cells and sets them beside their baselines: the costly part, with all bootstrap intervals. */
export function basisOf(run: Run): Basis {
  const cells = costCells(run);
  return { run, cells, ratios: ratiosOf(cells), model: keyModel(run), headline: headlineOf(cells) };
}

/** The cells of the experiments that measure something which a derived table draws on. */
export function measuring({ cells }: Basis, thing: (typeof MEASURED_THINGS)[number]): readonly Cost[] {
  return cells.filter(({ experiment }) => experiment.measures === thing);
}

/** Whether a cell is the row that its experiment says a derived table calls `word`. */
export function isRow({ experiment, varied }: Cost, word: string): boolean {
  const { parameters, table } = experiment;
  const values = table?.rows?.[word];
  if (values === undefined) return false;
  const columns = new Set(Object.values(table?.columns ?? {}));
  return (
    Object.entries(values).every(([name, value]) => varied[name] === value) &&
    Object.keys(varied).every((name) => name in values || columns.has(name) || parameters[name]?.role === 'size')
  );
}

/** What a cell has in a derived table's column, by its experiment's word for it. */
export function columnOfRow({ experiment, varied }: Cost, word: string): Values[string] | undefined {
  const name = experiment.table?.columns?.[word];
  return name === undefined ? undefined : varied[name];
}

/** What a derived table takes a column's value for, by its experiment's word for it. */
export function meaningOf(cost: Cost, word: string): string | undefined {
  return cost.experiment.table?.meanings?.[word]?.[String(columnOfRow(cost, word))];
}

/** The meaning, where it is one of `known`. Throws ExperimentError that names the value which means none of them. */
export function knownMeaningOf<T extends string>(cost: Cost, word: string, known: readonly T[]): T {
  const meaning = meaningOf(cost, word);
  const found = known.find((each) => each === meaning);
  if (found === undefined)
    throw new ExperimentError(
      `${cost.experiment.name}: ${word} '${String(columnOfRow(cost, word))}' means ` +
        `${meaning === undefined ? 'nothing' : `'${meaning}'`}; it must be one of: ${known.join('; ')}`,
    );
  return found;
}

/** A number that all rows of an experiment share, by a derived table's word for it. Throws ExperimentError without. */
export function numberOf({ experiment }: Cost, word: string): number {
  const number = experiment.table?.numbers?.[word];
  if (number === undefined) throw new ExperimentError(`${experiment.name}: its table has no number '${word}'`);
  return number;
}

/** What a derived table calls `word` and only measuring told, by the experiment's name for it. */
export function foundOf({ experiment, found }: Cost, word: string): Values[string] | undefined {
  const name = experiment.table?.found?.[word];
  return name === undefined ? undefined : found[name];
}

/** A number that was found; 0 where it was not. */
export const numberFound = (cost: Cost, word: string): number => Number(foundOf(cost, word) ?? 0);

/** What a derived table calls `word` and was counted besides, over all processes; undefined where it was not. */
export function observedOf({ experiment, observed }: Cost, word: string): number | undefined {
  const name = experiment.table?.observed?.[word];
  return name === undefined ? undefined : observed?.[name];
}
