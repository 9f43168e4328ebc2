/**
 * Where the library runs: Linux on x86-64 with glibc, from files of its own. Imported before koffi and the addon, so
 * that any other system, and a bundle, get one sentence in place of a loader's stack.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { findRoot, ownFile, PREBUILT } from './root.js';

/** The C library that the loader of the running Node belongs to; read only where a musl loader exists at all. */
function usesMusl(): boolean {
  if (!existsSync('/lib/ld-musl-x86_64.so.1')) return false;
  const report = process.report.getReport() as { readonly header?: { readonly glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime === undefined;
}

/** This system, as the sentence names it; undefined where the library runs. */
function unsupportedSystem(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return `${process.platform} on ${process.arch}`;
  return usesMusl() ? 'linux on x64 with musl' : undefined;
}

/**
 * An error whose text is the whole of it: no line of the library's code would help whoever reads it.
 * Node prints it as one line.
 */
export function plainError(code: string, message: string): Error {
  const error = Object.assign(new Error(message), { code });
  error.stack = `Error: ${message}`;
  return error;
}

/** @throws Error with code 'ERR_ADDON_PLATFORM' where the library does not run */
export function requireSupportedPlatform(): void {
  const system = unsupportedSystem();
  if (system === undefined) return;
  throw plainError(
    'ERR_ADDON_PLATFORM',
    `Turnkey runs on Linux on x86-64 with glibc, and this is ${system}: ` +
      'load it where process.platform and process.arch say so, or take the C layers (docs/porting.md).',
  );
}

/** Where this code lies in the package: as tsc writes it, or in the bundle of a trial (scripts/bundle.mjs). */
const OWN_FILES = ['/dist/src/root.js', '/dist/trial/trial.cjs'];

/** @throws Error with code 'ERR_ADDON_BUNDLED' where a bundler has taken this code away from its addon */
function requireOwnFiles(): void {
  const file = ownFile();
  if (OWN_FILES.some((own) => file.endsWith(own))) return;
  throw plainError(
    'ERR_ADDON_BUNDLED',
    `There is no Turnkey addon at ${join(findRoot() ?? dirname(file), PREBUILT)}, since Turnkey was bundled into ` +
      `${file} without its addon: keep it out of the bundle (esbuild: --external:turnkey), and install turnkey ` +
      'beside the bundle.',
  );
}

requireSupportedPlatform();
requireOwnFiles();
