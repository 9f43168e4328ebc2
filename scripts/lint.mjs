// `npm run lint`: everything that holds the style, in TAP, one line for each tool. `npm run format` (--format) mends
// what can be mended without a thought.
//
//   eslint         eslint.config.js
//   prettier       layout of TypeScript, JavaScript, JSON, YAML: .prettierrc.json
//   clang-format   layout of C and C++: .clang-format
//   tsc            types of scripts/, which are JavaScript: scripts/tsconfig.json
//   markdownlint   .markdownlint-cli2.jsonc
//   lines          no line over 120 columns in what the formatters leave alone: assembly, CMake, shell

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';

import { fail, root } from './setup.mjs';

const MOST_COLUMNS = 120;
const bin = (/** @type {string} */ name) => join(root, 'node_modules', '.bin', name);
const cache = (/** @type {string} */ name) => join(root, 'node_modules', '.cache', 'turnkey-lint', name);

/** Files of the project by extension. @param {readonly string[]} folders @param {readonly string[]} extensions */
function files(folders, extensions) {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => extensions.includes(extname(name)) || extensions.includes(name.split('/').at(-1) ?? ''))
      .map((name) => join(folder, name)),
  );
}

const NATIVE = ['native', 'examples', 'experiments', 'test'];

const C_FILES = files(NATIVE, ['.c', '.h', '.cc', '.cpp']);

/** @type {Readonly<Record<string, readonly string[]>>} */
const TOOLS = {
  eslint: [bin('eslint'), '--cache', '--cache-location', cache('eslint/'), '--max-warnings', '0', '.'],
  prettier: [bin('prettier'), '--check', '--log-level', 'warn', '--cache', '--cache-location', cache('prettier'), '.'],
  'clang-format': [bin('clang-format-node'), '--dry-run', '-Werror', ...C_FILES],
  tsc: [bin('tsc'), '-p', 'scripts'],
  markdownlint: [bin('markdownlint-cli2')],
};

/** @type {Readonly<Record<string, readonly string[]>>} */
const MENDERS = {
  eslint: [bin('eslint'), '--fix', '.'],
  prettier: [bin('prettier'), '--write', '--log-level', 'warn', '.'],
  'clang-format': [bin('clang-format-node'), '-i', ...C_FILES],
  markdownlint: [bin('markdownlint-cli2'), '--fix'],
};

/** @param {string} name @param {readonly string[]} command */
function run(name, [program = '', ...args]) {
  return new Promise((/** @type {(done: { ok: boolean, text: string }) => void} */ resolve) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (/** @type {Buffer} */ bytes) => {
        text += bytes.toString('utf8');
      });
    child.on('error', (error) => {
      resolve({ ok: false, text: `${name} could not be run: ${error.message}` });
    });
    child.on('close', (code) => {
      resolve({ ok: code === 0, text });
    });
  });
}

/** What the formatters leave alone. */
function longLines() {
  const paths = [
    'CMakeLists.txt',
    ...files(['native', 'examples', 'test', 'cmake'], ['.S', '.cmake', 'CMakeLists.txt', 'Makefile', '.sh', '.in']),
  ];
  const text = paths
    .flatMap((path) =>
      readFileSync(join(root, path), 'utf8')
        .split('\n')
        .flatMap((line, at) => (line.length > MOST_COLUMNS ? [`${path}:${at + 1}: ${line.length} columns`] : [])),
    )
    .join('\n');
  return { ok: text === '', text };
}

let number = 0;
/** @param {string} name @param {{ ok: boolean, text: string }} done @param {number} sinceMs */
function report(name, { ok, text }, sinceMs) {
  number++;
  if (!ok) for (const line of text.trimEnd().split('\n')) process.stdout.write(`#   ${line.replace(`${root}/`, '')}\n`);
  const seconds = ((performance.now() - sinceMs) / 1000).toFixed(1);
  process.stdout.write(`${ok ? 'ok' : 'not ok'} ${number} - ${name} # time=${seconds}s\n`);
  if (!ok) process.exitCode = 1;
}

try {
  process.stdout.write('TAP version 14\n');
  report('lines', longLines(), performance.now());
  if (process.argv[2] === '--format')
    for (const [name, command] of Object.entries(MENDERS)) report(name, await run(name, command), performance.now());
  const queue = process.argv[2] === '--format' ? [] : Object.entries(TOOLS); // the longest first
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [name, command] = next;
      const started = performance.now();
      report(name, await run(name, command), started);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  process.stdout.write(`1..${number}\n`);
} catch (error) {
  fail(error);
}
