/** The report's main tables in a terminal, with or without colour: the words say the same either way. */
import Table3 from 'cli-table3';

import type { Findings } from './findings/index.js';
import { type Cell, cellPlain, cellTone, left, type Table, type Tone } from './findings/table.js';
import { plainText } from './findings/text.js';

const CODES: Readonly<Record<Tone, readonly [number, number] | undefined>> = {
  good: [32, 39],
  bad: [31, 39],
  neutral: [33, 39],
  missing: [90, 39],
  plain: undefined,
};

export interface TerminalOptions {
  readonly colour: boolean;
  /** Columns; long texts are wrapped to it. */
  readonly width: number;
}

/** Wraps words; a word that is longer stays whole. */
function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

const HEAD_WIDTH = 16;
const LEAST_WIDTH = 18;
/** What the narrow columns of a table with long texts take. */
const NARROW_COLUMNS = 50;

/** Draws a table. */
export function drawTable(table: Table, options: TerminalOptions): string {
  const { title, columns, rows, notes, terminal = Number.POSITIVE_INFINITY } = table;
  if (rows.length === 0) return '';
  const grouped = rows.some(({ group }) => group !== undefined);
  const heads = [...(grouped ? [left('group')] : []), ...columns];
  const drawn = new Table3({
    head: heads.map((column) => wrap(column.title, HEAD_WIDTH)),
    style: { head: [], border: [], compact: true },
    colAligns: heads.map(({ align }) => align),
  });
  const longest = Math.max(24, Math.floor((options.width - NARROW_COLUMNS) / 2));
  const cellOf = (cell: Cell): string => {
    const text = cellPlain(cell);
    const code = CODES[cellTone(cell)];
    const wrapped = text.length > Math.max(LEAST_WIDTH, longest) ? wrap(text, longest) : text;
    return options.colour && code !== undefined ? `\u001b[${code[0]}m${wrapped}\u001b[${code[1]}m` : wrapped;
  };
  for (const { group, cells } of rows.slice(0, terminal))
    drawn.push([...(grouped ? [group ?? ''] : []), ...cells.map(cellOf)]);
  return [
    title,
    drawn.toString(),
    ...(rows.length > terminal ? [`  ${rows.length - terminal} more rows are in the report`] : []),
    ...notes.map((note) => `  ${plainText(note)}`),
    '',
  ].join('\n');
}

/** The report for a terminal. */
export function renderTerminal({ surprises, tables }: Findings, options: TerminalOptions): string {
  return [
    ...(surprises.length === 0
      ? []
      : [
          `Surprises (${surprises.length})`,
          ...surprises.flatMap(({ title, lines }) => [`  ! ${title}`, ...lines.map((line) => `      ${line}`)]),
          '',
        ]),
    ...tables.filter(({ terminal }) => terminal !== undefined).map((table) => drawTable(table, options)),
  ]
    .filter((part, at, all) => part !== '' || all[at - 1] !== '')
    .join('\n');
}
