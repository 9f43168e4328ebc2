/** Tables of comma-separated values (RFC 4180): the records of a run, and every table of its report. Pure. */
import { type Field, flatTables } from './findings/flat.js';
import type { Findings } from './findings/index.js';
import { type Cell, cellPlain, type Table } from './findings/table.js';

/** One line. Null and undefined are empty fields. */
export function csvLine(fields: readonly Field[]): string {
  return `${fields
    .map((field) => {
      const text = field === null || field === undefined ? '' : String(field);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(',')}\r\n`;
}

/** A figure as a number in its unit; anything else in words. */
function fieldOf(cell: Cell): Field {
  return cell.kind === 'figure' ? cell.value : cellPlain(cell);
}

function tableCsv({ columns, rows }: Table): string {
  const grouped = rows.some(({ group }) => group !== undefined);
  const head = columns.map(({ title, unit }) => (unit === undefined ? title : `${title} (${unit})`));
  return [
    [...(grouped ? ['group'] : []), ...head],
    ...rows.map(({ group, cells }) => [...(grouped ? [group] : []), ...cells.map(fieldOf)]),
  ]
    .map(csvLine)
    .join('');
}

/** All tables, by file name. Those of the report are in tables/. */
export function renderCsv({ basis, tables }: Findings): ReadonlyMap<string, string> {
  return new Map([
    ...flatTables(basis).map(({ name, head, rows }) => [`${name}.csv`, [head, ...rows].map(csvLine).join('')] as const),
    ...tables.map((table) => [`tables/${table.id}.csv`, tableCsv(table)] as const),
  ]);
}
