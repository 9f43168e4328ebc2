/** What guarded programs came to, as a table of a report: a row a program. */
import { basename } from 'node:path';

import type { ProgramTable } from '../record/programs.js';
import { type GuardReport, mechanismsOf } from './report.js';

const failuresOf = ({ processes, koffi }: GuardReport) => [...processes, ...koffi].flatMap(({ failures }) => failures);

const words = (report: GuardReport): readonly string[] => {
  const { command, lane, exitCode, processes, koffi } = report;
  const parts = [...processes, ...koffi];
  const failures = failuresOf(report);
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
  // of several functions that failed, no report says which was first
  const isFirst = reports.every((report) => failuresOf(report).length <= 1);
  const wentOn = reports.every((report) => failuresOf(report).length > 0 && report.exitCode === 0);
  const failure = isFirst ? 'the first failure' : 'a failure';
  return {
    id: 'guarded',
    title: 'Wild writes in programs as they are',
    about: [],
    columns: ['program', 'lane', 'mechanism', 'callouts', 'failed', failure, 'exit code'].map((title) => ({ title })),
    rows: reports.map(words),
    notes: wentOn ? ['Each program went on after the failed callout; exit code 0 is its own.'] : [],
  };
}
