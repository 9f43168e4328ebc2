/**
 * What a cost experiment says about itself: its title, its question, its place in a report, how it is drawn, what its
 * parameters mean. A run copies it into run.json (`context.experiments`), so that a report needs the run alone.
 */
import type { Values } from './records.js';

/** How one parameter of a row is read, drawn, and matched with the unguarded row. */
export interface ParameterDescription {
  /**
   * `size`: the image's size in bytes. `x`: varied in steps, the axis of a chart of lines. `row`: told in the label of
   * a row. `panel`: a chart for each value. `series`: a mark of its own for each value. `aside`: charts draw the usual
   * value only.
   */
  readonly role: 'size' | 'x' | 'row' | 'panel' | 'series' | 'aside';
  /** Numbers: `bytes` are written in KiB, a `count` before the name (`2 threads`), others after the name. */
  readonly unit?: 'bytes' | 'count';
  /** A text that is understood without the parameter's name. */
  readonly alone?: true;
  /** What `true` and `false` are called; `touched` and `not touched` where missing. */
  readonly words?: { readonly yes: string; readonly no: string };
  /** The plainest value: where one row stands for all, the row with the usual values does. */
  readonly usual?: number | string | boolean;
  /** The value of the unguarded row that others are set beside. */
  readonly baseline?: string;
  /** The unguarded row may differ in it. */
  readonly free?: true;
  /** Values of a series that have marks of their own, in order, and what a chart calls them. */
  readonly marks?: Readonly<Record<string, string>>;
}

/** What a derived table of the report may draw on. */
export const MEASURED_THINGS = [
  'fault',
  'caught fault',
  'applications',
  'model of keys',
  'call in C',
  'calls by koffi',
  'gate',
  'bystanders',
  'choices',
  'image check',
  'virtual keys',
  'tenants',
] as const;

/** What a derived table draws on, and under which names: the table's words, tied to an experiment's. */
export interface DerivedTable {
  /**
   * By the table's word for a row: the values of its parameters. It has no others but sizes and `columns`; of `columns`
   * only those named here are compared.
   */
  readonly rows?: Readonly<Record<string, Values>>;
  /** By the table's word for a column: the parameter that fills it. */
  readonly columns?: Readonly<Record<string, string>>;
  /**
   * By the table's word for a column: what the table takes each of its values for. Only `virtual keys` reads it. Its
   * `policy` is one of `least recent`, `random`, `every nth miss`, `none`; its `order` is one of `in turn`, `Zipf`,
   * `in turn, several visits each`.
   */
  readonly meanings?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** By the table's word: a number that all rows share. `virtual keys` reads `nth miss` and `visits in sequence`. */
  readonly numbers?: Readonly<Record<string, number>>;
  /** By the table's word: the name in a record's `found`. */
  readonly found?: Readonly<Record<string, string>>;
  /** By the table's word: the name in a record's `observed`. */
  readonly observed?: Readonly<Record<string, string>>;
}

/** A cost experiment in its own words. */
export interface CostDescription {
  readonly title: string;
  readonly question: string;
  /** Its place among the experiments of a report: small numbers first. */
  readonly order: number;
  /**
   * `lines`: cost over the parameter of role `x`, else over the image's size. `ratios`: rows of how many times the
   * unguarded cost. `rows`: rows of costs.
   */
  readonly shows: 'lines' | 'ratios' | 'rows';
  readonly parameters: Readonly<Record<string, ParameterDescription>>;
  /**
   * A row is whole work, not one operation: counted instructions, too, are told as a multiple of the unguarded ones.
   */
  readonly wholeWork?: true;
  /** Fit for the main picture: what one operation is, in the picture's words and in those of the first sentences. */
  readonly headline?: { readonly picture: string; readonly sentence: string };
  /** The report works a table of its own out of these rows. */
  readonly measures?: (typeof MEASURED_THINGS)[number];
  /** How that table's words are tied to the experiment's. */
  readonly table?: DerivedTable;
}

/** A description under the experiment's name, as a run holds it. */
export interface ExperimentContext extends CostDescription {
  readonly name: string;
}
