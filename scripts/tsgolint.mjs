// One rule that oxlint cannot be asked for yet: `node scripts/tsgolint.mjs RULE FILE…`. The program that works out its
// rules by type (oxlint-tsgolint) has the rule, and is asked here as oxlint asks it. What the two say to each other is
// theirs and may change with a release: then this fails, and test/lint/rules.test.ts too. Once oxlint offers the rule,
// .oxlintrc.jsonc names it and this file goes.
//
// The question is one JSON text. The answer is messages of a length (4 bytes, little-endian), a kind (1 byte) and JSON.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { fail, root, SetupError } from './setup.mjs';

const HEADER_BYTES = 5;
const DIAGNOSTIC = 1;

/** @typedef {{ file_path: string | null, range?: { pos: number }, message: { description: string } }} Diagnostic */

/** Where a diagnostic is, and what it says. @param {Diagnostic} diagnostic */
function lineOf({ file_path: path, range, message }) {
  if (path === null || range === undefined) return message.description;
  const before = readFileSync(path).subarray(0, range.pos).toString('utf8').split('\n');
  return `${path}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}: ${message.description}`;
}

try {
  const [rule, ...files] = process.argv.slice(2);
  if (rule === undefined) throw new SetupError('usage: tsgolint.mjs RULE FILE…');
  const { status, stdout, stderr, error } = spawnSync(join(root, 'node_modules', '.bin', 'tsgolint'), ['headless'], {
    input: JSON.stringify({
      version: 2,
      configs: [{ file_paths: files.map((path) => resolve(path)), rules: [{ name: rule }] }],
    }),
    maxBuffer: 1 << 26,
  });
  if (error) throw new SetupError(`tsgolint could not be run: ${error.message}`);
  if (status !== 0) throw new SetupError(`tsgolint failed: ${stderr.toString('utf8')}`);
  for (let rest = stdout; rest.length > 0;) {
    const end = HEADER_BYTES + rest.readUInt32LE(0);
    const text = rest.subarray(HEADER_BYTES, end).toString('utf8');
    if (rest[HEADER_BYTES - 1] !== DIAGNOSTIC) throw new SetupError(`tsgolint answered: ${text}`);
    process.stdout.write(`${lineOf(JSON.parse(text))}\n`);
    process.exitCode = 1;
    rest = rest.subarray(end);
  }
} catch (error) {
  fail(error);
}
