/** What guarded programs came to, as a table of a report: a row a program. */
import { basename } from 'node:path';

import type { ProgramTable } from '../record/programs.js';
import { type GuardReport, mechanismsOf } from './report.js';

const words = (report: GuardReport): readonly string[] => {
  const { command, lane, exitCode, processes, koffi } = report;
  const parts = [...processes, ...koffi];
  const failures = parts.flatMap((part) => part.failures);
  const callouts = parts.reduce((sum, part) => sum + part.callouts, 0);
  const failed = failures.reduce((sum, { count }) => sum + count, 0);
  return [
    command.map((word) => basename(word)).join(' '),
    lane,
    mechanismsOf(report),
    String(callouts),
    String(failed),
    failures[0]?.first.text ?? 'none',
    String(exitCode),
  ];
};

/** The table; its one line of title says what it is. */
export function guardedTable(reports: readonly GuardReport[]): ProgramTable {
  return {
    id: 'guarded',
    title: 'Wild writes in programs as they are',
    about: [],
    columns: ['program', 'lane', 'mechanism', 'callouts', 'failed', 'the first failure', 'exit code'].map((title) => ({
      title,
    })),
    rows: reports.map(words),
    notes: ['Each program went on after the failed callout; exit code 0 is its own.'],
  };
}
