/** The report of the catalogue on hosts: a table a host, with the stand-in's verdict beside it. */
import { join } from 'node:path';

import type { HostCase } from '../experiment/host-case.js';
import type { Run } from '../record/records.js';
import { writeWhole } from '../record/store.js';
import type { HostRecord } from './record.js';
import { hostTables } from './table.js';

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/**
 * What is to be said of records that are older than the check of whose instruction faulted; empty where none is.
 * docs/hosts.md says the same.
 */
export function moduleNote({ runs }: HostRecord): string {
  const unnamed = runs.filter(({ trials }) => {
    const errors = trials.flatMap(({ called }) => called?.error ?? []);
    return errors.length > 0 && errors.every(({ module }) => module === undefined);
  });
  if (unnamed.length === 0) return '';
  const commits = [...new Set(unnamed.map(({ commit }) => commit ?? 'no commit'))].join(', ');
  return `The records of ${commits} name no module, so that it was not checked whose instruction it was.`;
}

/** Writes report.md. @param standIn a run of the catalogue on the stand-in */
export function reportHosts(
  directory: string,
  record: HostRecord,
  cases: readonly HostCase[],
  standIn: Run | undefined,
): string {
  const older = moduleNote(record);
  const lines = [
    '# Bad callouts in programs that were never ported',
    '',
    'Each trial is a process: a program as it is, one bad callout, then work that the program goes on with. Its answer',
    'is checked, and the memory that the callee had no business in. *Prevented* needs evidence: a fault of the',
    "mechanism at that memory by an instruction outside the VM's modules, the memory as before, the right answer.",
    ...(older === '' ? [] : [older]),
    "The mechanism's lane stands in each head.",
    '*Damaged* and *host-damaged*: memory was not as before, or the answer was wrong; the program may have died of it.',
    '*Crashed*: it died with memory as before, or said nothing. *Trapped*: an error, and all is right.',
  ];
  for (const { title, about, columns, rows, notes } of hostTables(record, cases, standIn))
    lines.push(
      '',
      `## ${title}`,
      '',
      ...about.map((each) => `- ${each}`),
      '',
      // mechanisms are code: `none` (native)
      line(columns.map((column) => column.title.replace(/^(stand-in, )?([\w-]+) \(/, '$1`$2` ('))),
      line(columns.map(() => '---')),
      ...rows.map((cells) => line(cells.map((cell) => (typeof cell === 'string' ? cell : cell.text)))),
      ...notes.flatMap((note) => ['', note]),
    );
  const path = join(directory, 'report.md');
  writeWhole(path, `${lines.join('\n')}\n`);
  return path;
}
