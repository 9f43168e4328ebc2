/**
 * Reading and writing results. A file appears whole or not at all. It is written under a temporary name in the same
 * directory, flushed, then renamed (rename(2) is atomic). Whatever goes wrong before, the old file stays as it was.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';

import { ExperimentError, RunFormatError } from './errors.js';
import type { Run } from './records.js';
import { checkRun } from './schema.js';

/** The name of a run's record file in its directory. */
export const RUN_FILE = 'run.json';
/**
 * The same, packed by Brotli: how runs are kept. A large run repeats itself over distances past the 32 KiB that gzip
 * sees: 3.4 MB become 305 KB by gzip, and 127 KB by Brotli.
 */
export const PACKED_FILE = 'run.json.br';
/** The same, packed by gzip, which browsers unpack: how a page hands a run out. */
export const SAVED_FILE = 'run.json.gz';
/** The name of a run's report in its directory. */
export const REPORT_FILE = 'report.md';
/** What the report's figures and verdicts rest on, beside it. */
export const EVIDENCE_FILE = 'evidence.md';
/** Which limits of the mechanisms the run saw, beside it. */
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
 * gzip's header says which system packed a file (RFC 1952, 2.3): 255 is none, so that the bytes are the run's alone.
 */
const SYSTEM_BYTE = 9;
const NO_SYSTEM = 255;

/** Text packed by gzip: the same text gives the same bytes on every machine. */
export function packed(text: string): Buffer {
  const bytes = gzipSync(text, { level: 9 });
  bytes[SYSTEM_BYTE] = NO_SYSTEM;
  return bytes;
}

/** Text packed by Brotli, as what is kept: the same text gives the same bytes with one version of Node. */
export function squeezed(text: string): Buffer {
  const bytes = Buffer.from(text);
  const params = {
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  return brotliCompressSync(bytes, { params });
}

/** Writes a run as DIR/run.json.br, as runs are kept; its other forms go. Returns the path. */
export function writePacked(directory: string, run: Run): string {
  const path = join(directory, PACKED_FILE);
  writeWhole(path, squeezed(`${JSON.stringify(checkRun(run, 'this run'))}\n`));
  for (const other of [RUN_FILE, SAVED_FILE]) rmSync(join(directory, other), { force: true });
  return path;
}

/** The run's file in a directory: the plain one, where there are several, for it is written first. */
export function runFileIn(directory: string): string {
  const files = [RUN_FILE, PACKED_FILE, SAVED_FILE].map((name) => join(directory, name));
  return files.find((file) => existsSync(file)) ?? join(directory, RUN_FILE);
}

/** A run's text from the bytes of its file. */
function textOf(file: string, content: Buffer): string {
  if (file.endsWith('.br')) return brotliDecompressSync(content).toString('utf8');
  return (file.endsWith('.gz') ? gunzipSync(content) : content).toString('utf8');
}

/** The directory of a run, by its path or that of its file. */
export function directoryOf(path: string): string {
  return resolve(/\.json(\.br|\.gz)?$/.test(path) ? dirname(path) : path);
}

/**
 * Reads a run.
 * @param path of a run.json, plain or packed, or of the directory that holds it
 * @throws ExperimentError when it cannot be read, RunFormatError when it is not a run of a known version
 */
export function readRun(path: string): Run {
  let file = path;
  let content: Buffer;
  try {
    if (statSync(path).isDirectory()) file = runFileIn(path);
    content = readFileSync(file);
  } catch (error) {
    throw new ExperimentError(`cannot read ${file}: ${reasonOf(error)}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(textOf(file, content));
  } catch (error) {
    throw new RunFormatError(`${file} is not JSON: ${reasonOf(error)}`);
  }
  return checkRun(value, file);
}
