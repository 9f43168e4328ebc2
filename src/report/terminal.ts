/** The tables in a terminal, with or without colour: the words say the same either way. A pure function of a run. */
import Table3 from 'cli-table3';

import type { Run } from '../record/records.js';
import { costTables } from './cost-tables.js';
import { type Cell, honestTable, matrices, skippedTable, surprises, type Table, type Tone, totals } from './model.js';

const CODES: Readonly<Record<Tone, readonly [number, number] | undefined>> = {
  good: [32, 39],
  bad: [31, 39],
  neutral: [33, 39],
  missing: [90, 39],
  plain: undefined,
};

export interface TerminalOptions {
  readonly colour: boolean;
  /** Columns; the skipped reasons are wrapped to it. */
  readonly width: number;
}

function paint(cell: Cell, colour: boolean): string {
  const code = CODES[cell.tone];
  return colour && code !== undefined ? `\u001b[${code[0]}m${cell.text}\u001b[${code[1]}m` : cell.text;
}

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

function draw(table: Table, options: TerminalOptions): string {
  if (table.rows.length === 0) return '';
  const drawn = new Table3({
    head: table.head.map((text) => wrap(text, 16)),
    style: { head: [], border: [], compact: true },
    colAligns: table.head.map((_, at) =>
      table.numericFrom !== undefined && at >= table.numericFrom ? 'right' : 'left',
    ),
  });
  for (const row of table.rows) drawn.push(row.map((cell) => paint(cell, options.colour)));
  return [table.title, drawn.toString(), ...table.notes.map((note) => `  ${note}`), ''].join('\n');
}

/** Of one experiment. */
const MOST_COST_ROWS = 12;

/** The report for a terminal. */
export function renderTerminal(run: Run, options: TerminalOptions): string {
  const found = surprises(run);
  const parts: string[] = [];
  if (found.length > 0) {
    parts.push(
      `Surprises (${found.length})`,
      ...found.map(({ title, lines }) => [`  ! ${title}`, ...lines.map((line) => `      ${line}`)].join('\n')),
      '',
    );
  }
  for (const table of [...matrices(run), totals(run), honestTable(run), ...costTables(run, MOST_COST_ROWS)])
    parts.push(draw(table, options));
  const skipped = skippedTable(run);
  parts.push(
    draw(
      {
        ...skipped,
        rows: skipped.rows.map((row) =>
          row.map((cell, at) => ({
            ...cell,
            text: wrap(cell.text, at < 3 ? 18 : Math.max(24, Math.floor((options.width - 50) / 2))),
          })),
        ),
      },
      options,
    ),
  );
  return parts.filter((part) => part !== '').join('\n');
}
