/** What the catalogue on hosts records: trials, of which each is a program as it is with one bad callout. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';

import type { HostName } from '../experiment/host-case.js';
import { ExperimentError } from '../record/errors.js';
import { reasonOf, writeWhole } from '../record/store.js';
import type { GuardMechanism, Verdict } from '../record/words.js';

/** The line that a program prints after the bad callout. */
export interface Called {
  readonly stage: 'called';
  /** The address that the callee was given; null for a buffer that was lent. */
  readonly at: number | null;
  /** What the host's own error says, if it raised one. */
  readonly error: {
    readonly name: string;
    readonly signal: number;
    /** The name of the signal's si_code. */
    readonly code: string | null;
    readonly address: number | null;
    readonly pkey: number | null;
    /** File name of the module that the faulting instruction lies in; missing in records before there was one. */
    readonly module?: string | null;
  } | null;
  readonly returned: number | null;
  /** Whether memory that the callee had no business in is as it was. */
  readonly intact: boolean;
}

/** The line that it prints after it has worked on: allocated, collected, read all it has, called honestly. */
export interface Done {
  readonly stage: 'done';
  readonly right: boolean;
  readonly intact: boolean;
}

export interface HostTrial {
  readonly case: string;
  readonly host: HostName;
  readonly mechanism: GuardMechanism;
  readonly verdict: Verdict;
  readonly because: string;
  /** The exit code, the signal that ended it, or 'time'. */
  readonly end: number | string;
  readonly called: Called | null;
  readonly done: Done | null;
}

/** All trials of one lane and host. */
export interface HostRun {
  readonly lane: 'native' | 'emulated';
  readonly host: HostName;
  readonly commit: string | null;
  readonly started: string;
  readonly kernel: string;
  readonly cpu: string;
  /** What the host says of itself. */
  readonly version: string;
  readonly trials: readonly HostTrial[];
}

/** What a host can be put behind. */
export const MECHANISMS = ['none', 'flag', 'mprotect-range', 'pkeys'] as const satisfies readonly GuardMechanism[];

export interface HostRecord {
  readonly schemaVersion: 1;
  readonly runs: readonly HostRun[];
}

const CATALOGUE_FILE = 'catalogue.json.br';

/** The record in `directory`; an empty one where there is none. @throws ExperimentError where it cannot be read */
export function readHosts(directory: string): HostRecord {
  const path = join(directory, CATALOGUE_FILE);
  if (!existsSync(path)) return { schemaVersion: 1, runs: [] };
  try {
    return JSON.parse(brotliDecompressSync(readFileSync(path)).toString()) as HostRecord;
  } catch (error) {
    throw new ExperimentError(`${path} cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}

/** Adds runs to the record of `directory`; their cells (case, host, mechanism) take the place of what the lane had. */
export function writeHosts(directory: string, runs: readonly HostRun[]): HostRecord {
  const has = (trial: HostTrial, lane: string): boolean =>
    runs.some((run) => run.lane === lane && run.trials.some((each) => sameCell(each, trial)));
  const kept = readHosts(directory)
    .runs.map((run) => ({ ...run, trials: run.trials.filter((trial) => !has(trial, run.lane)) }))
    .filter(({ trials }) => trials.length > 0);
  const record: HostRecord = { schemaVersion: 1, runs: [...kept, ...runs] };
  writeWhole(join(directory, CATALOGUE_FILE), brotliCompressSync(JSON.stringify(record)));
  return record;
}

const sameCell = (a: HostTrial, b: HostTrial): boolean =>
  a.case === b.case && a.host === b.host && a.mechanism === b.mechanism;
