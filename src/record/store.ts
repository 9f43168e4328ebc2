/**
 * Reading and writing results. A file appears whole or not at all: it is written under a temporary name in the same
 * directory, flushed, then renamed (rename(2) is atomic); whatever goes wrong before, the old file stays as it was.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { ExperimentError, RunFormatError } from './errors.js';
import type { Run } from './records.js';
import { checkRun } from './schema.js';

/** The name of a run's record file in its directory. */
export const RUN_FILE = 'run.json';
/** The name of a run's report in its directory. */
export const REPORT_FILE = 'report.md';
/** Beside it. */
export const LIMITS_FILE = 'limits.md';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  EFBIG: 'the file would be too large',
  EEXIST: 'it exists and is not a directory',
};

/** What a system error means, in words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  return (code !== undefined ? REASONS[code] : undefined) ?? (error instanceof Error ? error.message : String(error));
}

/**
 * Writes a file whole or not at all.
 * @throws ExperimentError naming the file and the reason; the old file, if any, is untouched
 */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    mkdirSync(dirname(path), { recursive: true });
    const file = openSync(temporary, 'w');
    try {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // The path itself is impossible; the first error says so.
    }
    throw new ExperimentError(`cannot write ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Checks a run against the schema and writes it as DIR/run.json. Returns the path. */
export function writeRun(directory: string, run: Run): string {
  const path = join(directory, RUN_FILE);
  writeWhole(path, `${JSON.stringify(checkRun(run, 'this run'), null, 1)}\n`);
  return path;
}

/**
 * Reads a run.
 * @param path of a run.json, or of the directory that holds it
 * @throws ExperimentError when it cannot be read, RunFormatError when it is not a run of this version
 */
export function readRun(path: string): Run {
  let file = path;
  let content: string;
  try {
    if (statSync(path).isDirectory()) file = join(path, RUN_FILE);
    content = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ExperimentError(`cannot read ${file}: ${reasonOf(error)}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (error) {
    throw new RunFormatError(`${file} is not JSON: ${reasonOf(error)}`);
  }
  return checkRun(value, file);
}
