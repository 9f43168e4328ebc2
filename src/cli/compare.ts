/** `turnkey compare` and `turnkey export`: reading and writing around the pure functions of src/report/. */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { InvalidArgumentError } from 'commander';

import { ExperimentError } from '../record/errors.js';
import { directoryOf, readRun, reasonOf, writeWhole } from '../record/store.js';
import { compareRuns, DEFAULT_THRESHOLD, differs, isWorse, renderComparison } from '../report/compare.js';
import { renderCsv } from '../report/csv.js';
import { findings } from '../report/findings/index.js';

/** Exit codes: the same or better; B is worse (or, with --any, different). */
export const COMPARE_EXIT = { fine: 0, worse: 5 } as const;

export interface CompareFlags {
  /** A fraction. */
  readonly threshold?: number;
  readonly all?: boolean;
  readonly any?: boolean;
  readonly json?: boolean;
}

/** A percentage from 0 to 1000, as a fraction. */
export function parsePercent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (!/^\d+(\.\d+)?%?$/.test(text) || value > 1000)
    throw new InvalidArgumentError('It must be a percentage from 0 to 1000.');
  return value / 100;
}

/**
 * Prints the comparison of two runs. Returns the exit code.
 * @throws ExperimentError or RunFormatError when one of them cannot be read
 */
export function compareCommand(a: string, b: string, flags: CompareFlags): number {
  const comparison = compareRuns(readRun(a), readRun(b), flags.threshold ?? DEFAULT_THRESHOLD);
  process.stdout.write(
    flags.json === true
      ? `${JSON.stringify(comparison, null, 1)}\n`
      : `${renderComparison(comparison, { all: flags.all ?? false })}\n`,
  );
  return isWorse(comparison) || (flags.any === true && differs(comparison)) ? COMPARE_EXIT.worse : COMPARE_EXIT.fine;
}

/**
 * Writes a run's tables as CSV files and prints their paths.
 * @param out directory; a folder csv beside run.json if left out
 */
export function exportCommand(directory: string, flags: { readonly csv?: boolean; readonly out?: string }): number {
  if (flags.csv !== true) throw new ExperimentError('say in which form: turnkey export --csv DIR');
  const run = readRun(directory);
  const out = resolve(flags.out ?? join(directoryOf(directory), 'csv'));
  try {
    mkdirSync(out, { recursive: true });
  } catch (error) {
    throw new ExperimentError(`cannot write tables to ${out}: ${reasonOf(error)}`, { cause: error });
  }
  for (const [name, content] of renderCsv(findings(run))) {
    writeWhole(join(out, name), content);
    process.stdout.write(`${join(out, name)}\n`);
  }
  return COMPARE_EXIT.fine;
}
