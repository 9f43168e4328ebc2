/** Programs that were never ported: what their guards caught, what bad callouts did to them, beside the stand-in. */
import type { ProgramCell, ProgramTable } from '../../record/programs.js';
import { GOOD } from './records.js';
import { type Section, section, tables, text } from './sections.js';
import { type Cell, left, type Table, words } from './table.js';

const cellOf = (cell: ProgramCell): Cell => {
  if (typeof cell === 'string') return words(cell);
  const isGood = cell.verdicts.every((verdict) => GOOD.has(verdict));
  return words(cell.text, cell.verdicts.length === 0 ? 'plain' : isGood ? 'good' : 'bad');
};

/** The tables of a report. */
export function programTables(programs: readonly ProgramTable[]): readonly Table[] {
  return programs.map(({ id, title, about, columns, rows, notes }) => ({
    id: `programs-${id}`,
    title,
    columns: columns.map(({ title: head, mechanism }) => ({
      ...left(head),
      ...(mechanism === undefined ? {} : { mechanism }),
    })),
    rows: rows.map((cells) => ({ cells: cells.map(cellOf) })),
    notes: [...about, ...notes],
  }));
}

export function programsSection(programs: readonly ProgramTable[]): readonly Section[] {
  const found = tables(...programTables(programs));
  if (found.length === 0) return [];
  return section('programs', 'Programs that were never ported', [
    text([
      'The run above is about a stand-in for a VM. These are VMs as their makers built them, behind ',
      { code: 'turnkey guard' },
      '. Each head says in which lane; what keys prevent in the emulated lane is the word of the architecture.',
    ]),
    ...found,
  ]);
}
