/**
 * A table as a value: columns with units and alignment, rows of typed cells. Each table of a report exists once, here;
 * renderers draw it.
 */
import type { CorruptionRecord, CostRecord, SkippedRecord } from '../../record/records.js';
import type { Lane, Mechanism } from '../../record/words.js';
import { formatCount, formatFigure, formatRange, formatTimes, type Unit } from './format.js';
import { toneOf, verdictText } from './records.js';
import { plainText, type Text } from './text.js';

/** What a cell is to its reader: renderers colour by it, the text says the same without colour. */
export type Tone = 'good' | 'bad' | 'neutral' | 'missing' | 'plain';

export interface Column {
  readonly title: string;
  /** Numbers are aligned right. */
  readonly align: 'left' | 'right';
  /** Drawn in the mechanism's colour. */
  readonly mechanism?: Mechanism;
  /** The unit of all its figures, where they have one in common. */
  readonly unit?: Unit;
}

export type Cell =
  | { readonly kind: 'words'; readonly text: Text; readonly tone?: Tone }
  /** `times`: how many times the unguarded figure. `detail`: the figure in a sentence. */
  | {
      readonly kind: 'figure';
      readonly value: number;
      readonly unit: Unit;
      readonly times?: number;
      readonly events?: NonNullable<CostRecord['counts']>;
      readonly after?: string;
      readonly detail?: string;
    }
  | {
      readonly kind: 'range';
      readonly low: number;
      readonly high: number;
      readonly unit: Unit;
      /** Before the range: a ratio before its interval. */
      readonly middle?: number;
      readonly after?: string;
      readonly detail?: string;
    }
  | { readonly kind: 'verdict'; readonly record: CorruptionRecord }
  /** Nothing to show, and why, where that is known. */
  | { readonly kind: 'missing'; readonly skipped?: SkippedRecord };

export interface Row {
  readonly cells: readonly Cell[];
  /** Rows of one group stand together. */
  readonly group?: string;
  /** What the row is about, in a sentence. */
  readonly detail?: string;
}

export interface Table {
  /** A word that is its own in the whole report. */
  readonly id: string;
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  /** Said under it. */
  readonly notes: readonly Text[];
  /** `facts`: names and texts. `matrix`: cases by mechanisms, in groups. */
  readonly layout?: 'facts' | 'matrix';
  readonly lane?: Lane;
  /** In a terminal, too; at most so many rows of it. */
  readonly terminal?: number;
  /** Long or beside the point: folded where that can be done. */
  readonly folded?: true;
  /** What other figures rest on, line by line: so long that Markdown has it in a file of its own. */
  readonly evidence?: true;
}

export const words = (text: Text, tone?: Tone): Cell => ({
  kind: 'words',
  text,
  ...(tone === undefined ? {} : { tone }),
});
export const figure = (value: number, unit: Unit, detail?: string): Cell => ({
  kind: 'figure',
  value,
  unit,
  ...(detail === undefined ? {} : { detail }),
});
export const range = (low: number, high: number, unit: Unit): Cell => ({ kind: 'range', low, high, unit });
export const MISSING: Cell = { kind: 'missing' };

export const left = (title: string): Column => ({ title, align: 'left' });
export const right = (title: string, unit?: Unit): Column => ({
  title,
  align: 'right',
  ...(unit === undefined ? {} : { unit }),
});
export const ofMechanism = (mechanism: Mechanism, title: string = mechanism): Column => ({
  title,
  align: 'right',
  mechanism,
});

/** Events of one operation, in brackets. */
export function eventsText({ wrpkru, rdpkru, syscalls, faults }: NonNullable<CostRecord['counts']>): string {
  return `[${wrpkru} / ${rdpkru} / ${formatCount(syscalls)} / ${faults}]`;
}

/** What a cell says. Empty where something is missing for no known reason. */
export function cellText(cell: Cell): Text {
  switch (cell.kind) {
    case 'words':
      return cell.text;
    case 'figure':
      return [
        formatFigure(cell.value, cell.unit),
        ...(cell.times === undefined ? [] : [' ', { quiet: formatTimes(cell.times) }]),
        ...(cell.events === undefined ? [] : [' ', { quiet: eventsText(cell.events) }]),
        ...(cell.after === undefined ? [] : [cell.after]),
      ];
    case 'range':
      return [
        ...(cell.middle === undefined ? [] : [`${formatFigure(cell.middle, cell.unit)}, `]),
        formatRange(cell.low, cell.high, cell.unit),
        ...(cell.after === undefined ? [] : [cell.after]),
      ];
    case 'verdict':
      return verdictText(cell.record);
    case 'missing':
      return cell.skipped === undefined ? '' : 'skipped';
  }
}

/** What a cell is to its reader. */
export function cellTone(cell: Cell): Tone {
  if (cell.kind === 'verdict') return toneOf(cell.record);
  if (cell.kind === 'missing') return 'missing';
  return cell.kind === 'words' ? (cell.tone ?? 'plain') : 'plain';
}

/** A cell without emphasis. */
export const cellPlain = (cell: Cell): string => plainText(cellText(cell));

/** A table of names and texts. */
export function factsTable(id: string, title: string, facts: readonly (readonly [string, Text])[]): Table {
  return {
    id,
    title,
    columns: [left('what'), left('value')],
    rows: facts.map(([name, text]) => ({ cells: [words(name), words(text)] })),
    notes: [],
    layout: 'facts',
  };
}
