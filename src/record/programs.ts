/**
 * What reports say of programs that were never ported, behind `turnkey guard` or in the catalogue on hosts: tables of
 * words. A run's directory may hold them beside run.json, so that a report can be made again from it alone.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';

import { ExperimentError } from './errors.js';
import { reasonOf, writeWhole } from './store.js';
import type { GuardMechanism, Verdict } from './words.js';

/** `verdicts`: those that the text stands for. */
export type ProgramCell = string | { readonly text: string; readonly verdicts: readonly Verdict[] };

export interface ProgramTable {
  /** A word that is its own among the tables. */
  readonly id: string;
  readonly title: string;
  /** Where the rows come from, a line each. */
  readonly about: readonly string[];
  readonly columns: readonly { readonly title: string; readonly mechanism?: GuardMechanism }[];
  readonly rows: readonly (readonly ProgramCell[])[];
  readonly notes: readonly string[];
}

export const PROGRAMS_FILE = 'programs.json.br';

/** @throws ExperimentError when the file cannot be written */
export function writePrograms(directory: string, tables: readonly ProgramTable[]): void {
  writeWhole(join(directory, PROGRAMS_FILE), brotliCompressSync(JSON.stringify({ schemaVersion: 1, tables })));
}

/** None where the directory has none. @throws ExperimentError where the file cannot be read */
export function readPrograms(directory: string): readonly ProgramTable[] {
  const path = join(directory, PROGRAMS_FILE);
  if (!existsSync(path)) return [];
  try {
    const text = brotliDecompressSync(readFileSync(path)).toString();
    return (JSON.parse(text) as { readonly tables: readonly ProgramTable[] }).tables;
  } catch (error) {
    throw new ExperimentError(`${path} cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}
