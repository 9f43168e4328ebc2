/** What the derived tables are worked out from. Computed once for a run, by `findings`, and handed down. */
import type { MEASURED_THINGS } from '../../record/description.js';
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
  const values = table?.rows[word];
  if (values === undefined) return false;
  const aside = new Set(Object.values(table?.columns ?? {}));
  const names = Object.keys(varied).filter((name) => parameters[name]?.role !== 'size' && !aside.has(name));
  return names.length === Object.keys(values).length && names.every((name) => varied[name] === values[name]);
}

/** What a cell has in a derived table's column, by its experiment's word for it. */
export function columnOfRow({ experiment, varied }: Cost, word: string): Values[string] | undefined {
  return varied[experiment.table?.columns?.[word] ?? word];
}
