/**
 * All that makes a run's figures less than they could be, joined by what is to be done about it. A pure function of a
 * run.
 */
import type { Run } from '../record/records.js';
import { costsOf } from './model.js';

export interface Warning {
  readonly text: string;
  /** What to do about it; empty where it does not say. */
  readonly remedy: string;
  /** Cost rows that carry it; 0 where it is of a lane as a whole. */
  readonly rows: number;
  /** Which ones, each once. */
  readonly of: readonly string[];
}

/** Before the name of a lane's detail that is a warning. */
const LANE_WARNING = 'warning: ';

/** A warning's sentence is followed by its remedy, after the last semicolon. */
function parts(warning: string): { readonly text: string; readonly remedy: string } {
  const at = warning.lastIndexOf('; ');
  return at < 0 ? { text: warning, remedy: '' } : { text: warning.slice(0, at), remedy: warning.slice(at + 2) };
}

/** Those of lanes first, then those of rows, most frequent first. */
export function warningsOf(run: Run): readonly Warning[] {
  const lanes = run.context.lanes.flatMap(({ lane, details }) =>
    Object.entries(details)
      .filter(([name]) => name.startsWith(LANE_WARNING))
      .map(([, text]): Warning => ({ ...parts(text), rows: 0, of: [`${lane} lane`] })),
  );
  const groups = new Map<string, string[]>();
  for (const { warnings, experiment, mechanism, lane } of costsOf(run)) {
    for (const warning of warnings ?? []) {
      const rows = groups.get(warning);
      const row = `${experiment}, ${mechanism}, ${lane}`;
      if (rows === undefined) groups.set(warning, [row]);
      else rows.push(row);
    }
  }
  const rows = [...groups].map(([warning, list]): Warning => ({
    ...parts(warning),
    rows: list.length,
    of: [...new Set(list)],
  }));
  return [...lanes, ...rows.sort((a, b) => b.rows - a.rows)];
}
