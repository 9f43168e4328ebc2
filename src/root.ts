/** Where the project lies: found from this module, wherever it has been built to. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let found: string | undefined;

/** The folder that holds package.json, above this module; undefined if none does. */
export function findRoot(): string | undefined {
  for (let folder = dirname(fileURLToPath(import.meta.url)); found === undefined; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) found = folder;
    else if (folder === dirname(folder)) return undefined;
  }
  return found;
}
