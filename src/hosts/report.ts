/** The report of the catalogue on hosts: a table a host, with the stand-in's verdict beside it. */
import { join } from 'node:path';

import type { HostCase, HostName } from '../experiment/host-case.js';
import type { Run } from '../record/records.js';
import { writeWhole } from '../record/store.js';
import { type HostRecord, type HostTrial, MECHANISMS } from './record.js';

const NAMES: Readonly<Record<HostName, string>> = {
  cpython: 'CPython, with ctypes',
  node: 'Node, with koffi',
  ruby: 'Ruby, with Fiddle',
  squeak: "Squeak: Debian's binary, FFI repaired by interposition, image with a script hook",
};

/** A cell: the verdict where all agree, else how many had which. */
function cell(trials: readonly HostTrial[]): string {
  const counts = new Map<string, number>();
  for (const { verdict } of trials) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  if (counts.size <= 1) return trials[0]?.verdict ?? '';
  return [...counts].map(([verdict, count]) => `${verdict} ${String(count)}`).join(', ');
}

/** The stand-in's verdict under keys, writes denied and one key. */
function ofStandIn(run: Run | undefined, name: string | undefined): string {
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
  return found?.kind === 'corruption' ? found.verdict : '';
}

/** Writes report.md. @param standIn a run of the catalogue on the stand-in */
export function reportHosts(
  directory: string,
  record: HostRecord,
  cases: readonly HostCase[],
  standIn: Run | undefined,
): string {
  const hosts = [...new Set(record.runs.map(({ host }) => host))];
  const lines = [
    '# Bad callouts in programs that were never ported',
    '',
    'Each trial is a process: a program as it is, one bad callout, then work that the program goes on with. Its answer',
    'is checked, and the memory that the callee had no business in. *Prevented* needs evidence: a fault of the',
    "mechanism at that memory, the memory as before, the right answer. The mechanism's lane stands in each head.",
    '*Damaged* and *host-damaged*: memory was not as before, or the answer was wrong; the program may have died of it.',
    '*Crashed*: it died with memory as before, or said nothing. *Trapped*: an error, and all is right.',
  ];
  for (const host of hosts) {
    // native first
    const runs = record.runs.filter((run) => run.host === host).sort((a, b) => b.lane.localeCompare(a.lane));
    const columns = (['native', 'emulated'] as const).flatMap((lane) => {
      const trials = runs.filter((run) => run.lane === lane).flatMap((run) => run.trials);
      return MECHANISMS.filter((mechanism) => trials.some((trial) => trial.mechanism === mechanism)).map(
        (mechanism) => ({
          head: `\`${mechanism}\` (${lane})`,
          trials: trials.filter((trial) => trial.mechanism === mechanism),
        }),
      );
    });
    lines.push('', `## ${NAMES[host]}`, '');
    for (const { lane, version, kernel, cpu, commit, trials } of runs)
      lines.push(
        `- ${lane}: ${version}; Linux ${kernel}, ${cpu}; ${String(trials.length)} trials of ${commit ?? 'no commit'}`,
      );
    lines.push(
      '',
      `| case | ${columns.map(({ head }) => head).join(' | ')} | stand-in, \`pkeys\` (emulated) |`,
      `| --- | ${columns.map(() => '---').join(' | ')} | --- |`,
      ...cases
        .filter(({ name }) => columns.some(({ trials }) => trials.some((trial) => trial.case === name)))
        .map(({ name, title, standIn: like }) => {
          const cells = columns.map(({ trials }) => cell(trials.filter((trial) => trial.case === name)));
          return `| ${[`${name}: ${title}`, ...cells, ofStandIn(standIn, like)].join(' | ')} |`;
        }),
    );
    for (const { name, skip } of cases) {
      const reason = skip?.[host];
      if (reason !== undefined) lines.push('', `Left out: ${name}, because ${reason}.`);
    }
  }
  const path = join(directory, 'report.md');
  writeWhole(path, `${lines.join('\n')}\n`);
  return path;
}
