/** What a run is made on and with: read once, at its start. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { basename, dirname, join } from 'node:path';

import { hostCpu, showsKeys } from '../machine/host.mjs';
import { ExperimentError } from '../record/errors.js';
import { inProject, NATIVE, PROJECT_ROOT } from '../record/paths.js';
import type { Context, HostContext } from '../record/records.js';
import { reasonOf } from '../record/store.js';

/** The PRETTY_NAME of /etc/os-release. */
export function parseOsRelease(text: string): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? 'unknown';
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** This machine. */
export function hostContext(): HostContext {
  const { model, flags } = hostCpu();
  return {
    cpu: model,
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    system: parseOsRelease(readOr('/etc/os-release', '')),
    keys: showsKeys(flags),
    virtualised: flags.has('hypervisor'),
  };
}

function packageVersion(manifest: string): string {
  const value = JSON.parse(readFileSync(manifest, 'utf8')) as { readonly version?: string };
  return value.version ?? 'unknown';
}

/** koffi's package.json, which it does not export: below the project, or beside it where npm has installed both. */
function koffiManifest(): string {
  for (let folder = PROJECT_ROOT; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', 'koffi', 'package.json');
    if (existsSync(path) || folder === dirname(folder)) return path;
  }
}

/** The commit of which the package's native parts were built (scripts/package.mjs); null where npm built them. */
function packagedCommit(): string | null {
  try {
    const built = JSON.parse(readFileSync(inProject(`${NATIVE}/built.json`), 'utf8')) as { readonly commit?: string };
    return built.commit ?? null;
  } catch {
    return null;
  }
}

/** The commit, with + when tracked files differ from it; null where neither a repository nor the package says. */
export function currentCommit(): string | null {
  // an installed package may lie in somebody else's repository
  if (!existsSync(inProject('.git'))) return packagedCommit();
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: PROJECT_ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const commit = git('rev-parse', '--short=12', 'HEAD');
    return git('status', '--porcelain', '--untracked-files=no') === '' ? commit : `${commit}+`;
  } catch {
    return null;
  }
}

/** Versions of what a result depends on. */
export function versions(): Readonly<Record<string, string>> {
  return {
    turnkey: packageVersion(inProject('package.json')),
    node: process.versions.node,
    v8: process.versions.v8,
    koffi: packageVersion(koffiManifest()),
  };
}

/**
 * A VM image file's identity, without its path.
 * @throws ExperimentError if it is missing, not a file, or cannot be read
 */
export function imageFileContext(path: string | undefined): Context['imageFile'] {
  if (path === undefined) return null;
  try {
    if (!statSync(path).isFile()) throw new ExperimentError(`${path} is not a file`);
    const bytes = readFileSync(path);
    if (bytes.length === 0) throw new ExperimentError(`${path} is empty`);
    return { name: basename(path), bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  } catch (error) {
    if (error instanceof ExperimentError) throw error;
    throw new ExperimentError(`cannot read the image file ${path}: ${reasonOf(error)}`, { cause: error });
  }
}
