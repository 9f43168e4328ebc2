/** The catalogue on hosts as tables: one a host, a row a case, with the stand-in's verdict beside it. */
import type { HostCase, HostName } from '../experiment/host-case.js';
import type { ProgramCell, ProgramTable } from '../record/programs.js';
import type { Run } from '../record/records.js';
import { type HostRecord, type HostTrial, MECHANISMS } from './record.js';

const NAMES: Readonly<Record<HostName, string>> = {
  cpython: 'CPython, with ctypes',
  node: 'Node, with koffi',
  ruby: 'Ruby, with Fiddle',
  squeak: "Squeak: Debian's binary, FFI repaired by interposition, image with a script hook",
};

/** A cell: the verdict where all agree, else how many had which. */
function cell(trials: readonly HostTrial[]): ProgramCell {
  const counts = new Map<HostTrial['verdict'], number>();
  for (const { verdict } of trials) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  const text =
    counts.size <= 1
      ? (trials[0]?.verdict ?? '')
      : [...counts].map(([verdict, count]) => `${verdict} ${String(count)}`).join(', ');
  return { text, verdicts: [...counts.keys()] };
}

/** The stand-in's verdict under keys, writes denied and one key. */
function ofStandIn(run: Run | undefined, name: string | undefined): ProgramCell {
  const found = run?.records.find(
    (record) =>
      record.kind === 'corruption' &&
      record.case === name &&
      record.lane === 'emulated' &&
      record.mechanism === 'pkeys' &&
      record.deny === 'write' &&
      record.keys === 'image' &&
      record.harden === undefined,
  );
  return found?.kind === 'corruption' ? { text: found.verdict, verdicts: [found.verdict] } : '';
}

/** @param standIn a run of the catalogue on the stand-in */
export function hostTables(
  record: HostRecord,
  cases: readonly HostCase[],
  standIn: Run | undefined,
): readonly ProgramTable[] {
  return [...new Set(record.runs.map(({ host }) => host))].map((host) => {
    // native first
    const runs = record.runs.filter((run) => run.host === host).sort((a, b) => b.lane.localeCompare(a.lane));
    const columns = (['native', 'emulated'] as const).flatMap((lane) => {
      const trials = runs.filter((run) => run.lane === lane).flatMap((run) => run.trials);
      return MECHANISMS.filter((mechanism) => trials.some((trial) => trial.mechanism === mechanism)).map(
        (mechanism) => ({
          mechanism,
          head: `${mechanism} (${lane})`,
          trials: trials.filter((trial) => trial.mechanism === mechanism),
        }),
      );
    });
    return {
      id: host,
      title: NAMES[host],
      about: runs.map(
        ({ lane, version, kernel, cpu, commit, trials }) =>
          `${lane}: ${version}; Linux ${kernel}, ${cpu}; ${String(trials.length)} trials of ${commit ?? 'no commit'}`,
      ),
      columns: [
        { title: 'case' },
        ...columns.map(({ head, mechanism }) => ({ title: head, mechanism })),
        { title: 'stand-in, pkeys (emulated)' },
      ],
      rows: cases
        .filter(({ name }) => columns.some(({ trials }) => trials.some((trial) => trial.case === name)))
        .map(({ name, title, standIn: like }) => [
          `${name}: ${title}`,
          ...columns.map(({ trials }) => cell(trials.filter((trial) => trial.case === name))),
          ofStandIn(standIn, like),
        ]),
      notes: cases.flatMap(({ name, skip }) => {
        const reason = skip?.[host];
        return reason === undefined ? [] : [`Left out: ${name}, because ${reason}.`];
      }),
    };
  });
}
