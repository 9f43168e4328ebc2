/**
 * A large file of real text, the same wherever the same packages are installed. It holds the sources and documents of
 * this project's own dependencies, by package-lock.json, one after the other. Made once, kept beside the build.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { inProject } from '../../src/experiment/index.js';
import { ExperimentError } from '../../src/record/errors.js';
import { writeWhole } from '../../src/record/store.js';

export const TEXT_BYTES = 16 << 20;
const KEPT_AT = 'build/text-16m';
const LOCK = 'package-lock.json';

/** Text, by name. */
const TEXT = /\.(?:js|mjs|cjs|ts|md|json|h|c|cc|cpp)$/;

interface Lock {
  readonly packages: Readonly<Record<string, { readonly optional?: boolean; readonly version?: string }>>;
}

/** By code unit: the same order in every locale. */
const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function filesUnder(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => byName(a.name, b.name))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path);
      return entry.isFile() && TEXT.test(entry.name) ? [path] : [];
    });
}

function make(): Buffer {
  const lock = JSON.parse(readFileSync(inProject(LOCK), 'utf8')) as Lock;
  const packages = Object.entries(lock.packages)
    .filter(([path, { optional }]) => path !== '' && optional !== true)
    .map(([path]) => path)
    .sort(byName);
  const parts: Buffer[] = [];
  let bytes = 0;
  for (const path of packages) {
    if (!existsSync(inProject(path))) continue;
    for (const file of filesUnder(inProject(path))) {
      const part = readFileSync(file);
      parts.push(part);
      bytes += part.length;
      if (bytes >= TEXT_BYTES) return Buffer.concat(parts).subarray(0, TEXT_BYTES);
    }
  }
  throw new ExperimentError(`the project's packages hold only ${bytes} bytes of text, not ${TEXT_BYTES}: npm ci`);
}

/** A file of TEXT_BYTES bytes, and what it is. */
export interface TextFile {
  readonly bytes: Buffer;
  readonly sha256: string;
}

/**
 * Reads it, or makes it first.
 * @throws ExperimentError where the packages are not installed, as outside a checkout
 */
export function textFile(): TextFile {
  if (!existsSync(inProject(LOCK)))
    throw new ExperimentError('the text is made from the npm packages of a checkout, and this is an installed package');
  const path = inProject(KEPT_AT);
  // Made again when the packages have changed.
  const known =
    existsSync(path) &&
    statSync(path).size === TEXT_BYTES &&
    statSync(path).mtimeMs > statSync(inProject(LOCK)).mtimeMs;
  const bytes = known ? readFileSync(path) : make();
  if (!known) {
    mkdirSync(inProject('build'), { recursive: true });
    writeWhole(path, bytes);
  }
  return { bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
}
