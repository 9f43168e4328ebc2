/**
 * A report as a value: sections of paragraphs, charts and tables, in order. Each renderer draws the sections in its own
 * way, and adds nothing to what they say.
 */
import type { Mechanism } from '../../record/words.js';
import type { Panel } from './charts.js';
import type { Surprise } from './outcomes.js';
import type { Table } from './table.js';
import type { Text } from './text.js';

export type Block =
  | { readonly kind: 'text'; readonly text: Text; readonly quiet?: true }
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Text[] }
  /** Charts are for those who can draw them: the figures are in tables of the same section. */
  | { readonly kind: 'charts'; readonly panels: readonly Panel[] }
  /** The parts of bars, by number. */
  | { readonly kind: 'parts'; readonly names: readonly string[] }
  | { readonly kind: 'mechanisms'; readonly mechanisms: readonly Mechanism[] }
  | { readonly kind: 'verdicts' }
  | { readonly kind: 'surprises'; readonly surprises: readonly Surprise[] }
  | { readonly kind: 'table'; readonly table: Table };

export interface Section {
  /** A word that is its own in the report: the target of links. */
  readonly id: string;
  readonly title: string;
  readonly blocks: readonly Block[];
}

export const text = (content: Text, quiet?: true): Block => ({
  kind: 'text',
  text: content,
  ...(quiet === undefined ? {} : { quiet }),
});
export const heading = (content: string): Block => ({ kind: 'heading', text: content });
/** The tables that have rows. */
export const tables = (...list: readonly Table[]): readonly Block[] =>
  list.flatMap((table): readonly Block[] => (table.rows.length === 0 ? [] : [{ kind: 'table', table }]));
/** The panels, where there are any. */
export const charts = (panels: readonly Panel[]): readonly Block[] =>
  panels.length === 0 ? [] : [{ kind: 'charts', panels }];

/** A section of these blocks; none where there are none. */
export function section(id: string, title: string, blocks: readonly Block[]): readonly Section[] {
  return blocks.length === 0 ? [] : [{ id, title, blocks }];
}

/** All tables of sections, in order. */
export function tablesIn(sections: readonly Section[]): readonly Table[] {
  return sections.flatMap(({ blocks }) => blocks.flatMap((block) => (block.kind === 'table' ? [block.table] : [])));
}
