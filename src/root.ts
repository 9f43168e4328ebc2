/** Where the project lies, and its native parts: found from this module, wherever it has been built to. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let found: string | undefined;

/** The file that this code runs from. A bundle in CommonJS has no import.meta.url. */
export function ownFile(): string {
  const url = import.meta.url as string | undefined;
  return url === undefined ? __filename : fileURLToPath(url);
}

/** The folder that holds package.json, above this module; undefined if none does. */
export function findRoot(): string | undefined {
  for (let folder = dirname(ownFile()); found === undefined; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) found = folder;
    else if (folder === dirname(folder)) return undefined;
  }
  return found;
}

/**
 * The addon's prebuilt binary, relative to the root. One serves every Node since Node-API 8, which Node 20 has.
 */
export const PREBUILT = 'prebuilds/turnkey-linux-x64/node-napi-v8.node';

/**
 * The folder of the harness's programs and libraries, relative to the root: build/Release in a checkout, else the
 * package's prebuilt ones (npm builds the addon alone from source). addon.ts finds the addon in the same order.
 */
export function nativeFolder(root: string): string {
  const built = 'build/Release';
  return existsSync(join(root, built, 'turnkey-watch')) ? built : 'prebuilds/turnkey-linux-x64';
}
