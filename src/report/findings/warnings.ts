/** Warnings in words: the one place where a code gets its sentence and what to do about it. Pure functions of a run. */
import type { Run } from '../../record/records.js';
import type { Warning } from '../../record/warnings.js';
import { costsOf } from './records.js';
import { plural, type Text } from './text.js';

/** A warning of a run, and what carries it. */
export interface WarningFinding {
  readonly warning: Warning;
  readonly text: string;
  /** What to do about it; empty where an experiment does not say. */
  readonly remedy: string;
  /** Cost rows that carry it; 0 where it is of a lane as a whole. */
  readonly rows: number;
  /** Which ones, each once. */
  readonly of: readonly string[];
}

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

/** The sentence of a warning, and its remedy. */
export function warningText(warning: Warning): { readonly text: string; readonly remedy: string } {
  const quiet = 'let nothing else run and try again';
  switch (warning.code) {
    case 'few-samples':
      return {
        text: `only ${warning.samples} samples: one operation takes long`,
        remedy: 'measure a smaller image for an interval',
      };
    case 'noisy':
      return {
        text: `noisy: the median absolute deviation is over ${percent(warning.over)} of the median`,
        remedy: quiet,
      };
    case 'coarse-clock':
      return {
        text:
          `the clock is coarse for this: reading it takes over ${percent(warning.over)} of what is timed at ` +
          'once, which is taken off',
        remedy: 'compare only with rows timed alike',
      };
    case 'steal':
      return {
        text: `steal time: over ${percent(warning.over)} of this virtual machine's time went to others meanwhile`,
        remedy: 'use a dedicated or bare-metal machine',
      };
    case 'frequency':
      return {
        text: `the core's frequency changed by over ${percent(warning.over)} meanwhile`,
        remedy: 'fix it (cpupower frequency-set -g performance, boost off)',
      };
    case 'put-aside':
      return {
        text: `put aside for other processes in ${percent(warning.over)} of the batches, or more`,
        remedy: quiet,
      };
    case 'unsettled':
      return { text: 'batches were still getting faster when warm-up ended', remedy: 'measure longer' };
    case 'warm-up':
      return { text: 'the warm-up had not settled', remedy: 'leave the machine alone and run again' };
    case 'unpinned':
      return { text: 'the process could not be pinned to one processor', remedy: 'allow sched_setaffinity' };
    case 'oversubscribed':
      return {
        text: 'oversubscribed: more threads than processors, so the scheduler is part of the figure',
        remedy: 'use a machine with more processors',
      };
    case 'clock-drift':
      return {
        text: `two calibrations of the clock differ by ${(warning.drift * 100).toFixed(3)} %`,
        remedy: 'take times for no more exact than that',
      };
    case 'no-invariant-tsc':
      return {
        text: 'no invariant TSC: short operations are timed in long batches by CLOCK_MONOTONIC',
        remedy: 'use a machine with an invariant TSC for tighter intervals',
      };
    case 'virtualised':
      return {
        text: 'a virtual machine: page-table work costs more under nested paging, and others share the processor',
        remedy: 'measure on bare metal for figures that hold elsewhere',
      };
    case 'other':
      return { text: warning.text, remedy: warning.remedy };
  }
}

/** Those of lanes first, then those of rows, most frequent first. */
export function warningsOf(run: Run): readonly WarningFinding[] {
  const lanes = run.context.lanes.flatMap(({ lane, warnings = [] }) =>
    warnings.map((warning): WarningFinding => ({
      warning,
      ...warningText(warning),
      rows: 0,
      of: [`${lane} lane`],
    })),
  );
  const groups = new Map<string, { readonly warning: Warning; readonly of: string[] }>();
  for (const { warnings = [], experiment, mechanism, lane } of costsOf(run)) {
    for (const warning of warnings) {
      const key = JSON.stringify(warning);
      const group = groups.get(key) ?? { warning, of: [] };
      group.of.push(`${experiment}, ${mechanism}, ${lane}`);
      groups.set(key, group);
    }
  }
  const rows = [...groups.values()].map(({ warning, of }): WarningFinding => ({
    warning,
    ...warningText(warning),
    rows: of.length,
    of: [...new Set(of)],
  }));
  return [...lanes, ...rows.sort((a, b) => b.rows - a.rows)];
}

/** Named of the rows that carry a warning. */
const MOST_ROWS = 6;

/** A warning as a line of a list. */
export function warningLine({ text, remedy, rows, of }: WarningFinding): Text {
  const carriers =
    rows === 0
      ? of.join('; ')
      : `${plural(rows, 'row')}: ${of.slice(0, MOST_ROWS).join('; ')}${of.length > MOST_ROWS ? '; …' : ''}`;
  return [text, ...(remedy === '' ? [] : [': ', { strong: remedy }]), ' ', { quiet: `(${carriers})` }];
}
