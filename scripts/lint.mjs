// `npm run lint`: everything that holds the style, in TAP, one line for each tool. `npm run format` (--format) mends
// what can be mended without a thought.
//
//   oxlint         rules of TypeScript and JavaScript: .oxlintrc.jsonc
//   instances      the one rule that oxlint does not offer yet: scripts/tsgolint.mjs
//   oxfmt          layout of TypeScript, JavaScript, JSON, YAML: .oxfmtrc.json
//   clang-format   layout of C and C++: .clang-format
//   tsc            types of scripts/, which are JavaScript: scripts/tsconfig.json
//   markdownlint   .markdownlint-cli2.jsonc
//   typedoc        the pages of the API can be made (`npm run docs:api` writes them): typedoc.json
//   lines          no line over 120 columns in what the formatters leave alone: assembly, CMake, shell
//
// Each tool is given the names of the project's files, as git lists them. A tool that searches by itself also meets
// what lies about: another clone, a guest's root, a link to a folder above. markdownlint-cli2 follows such a link round
// and round until its memory is used up.

import { spawn, spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, extname, join } from 'node:path';

import { fail, root, TSC } from './setup.mjs';

const MOST_COLUMNS = 120;
const bin = (/** @type {string} */ name) => join(root, 'node_modules', '.bin', name);

/** The project's files: what git knows or would add. Without git: all but what is built, installed or recorded. */
function projectFiles() {
  const git = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const names =
    git.status === 0
      ? git.stdout.split('\0')
      : readdirSync(root, { withFileTypes: true })
          .filter(({ name }) => !/^(build.*|dist|node_modules|results|prebuilds|\.git|\.tap)$/.test(name))
          .flatMap((top) =>
            top.isDirectory()
              ? readdirSync(join(root, top.name), { recursive: true, encoding: 'utf8' }).map((name) =>
                  join(top.name, name),
                )
              : [top.name],
          );
  return names.filter((name) => lstatSync(join(root, name), { throwIfNoEntry: false })?.isFile() === true);
}

const FILES = projectFiles().filter((name) => name !== '');
/** Those with one of these extensions or names. @param {readonly string[]} extensions */
const files = (...extensions) =>
  FILES.filter((path) => extensions.includes(extname(path)) || extensions.includes(basename(path)));

const C_FILES = files('.c', '.h', '.cc', '.cpp');
const SCRIPTS = files('.ts', '.mts', '.cts', '.js', '.mjs', '.cjs');
const PRETTY = [...SCRIPTS, ...files('.json', '.jsonc', '.yml', '.yaml', '.css')];
// docs/limits.md is written by `turnkey report`, a paragraph a line; so are recorded runs
const MARKDOWN = files('.md').filter((path) => !/^(docs\/limits\.md|results\/|test\/fixtures\/)/.test(path));

/** Those in which an object that only looks like a class's instance is a mistake. Tests make such objects. */
const INSTANCES = SCRIPTS.filter((path) => /\.[cm]?ts$|^(scripts|src)\//.test(path) && !path.startsWith('test/'));
const OXLINT = [bin('oxlint'), '--disable-nested-config', ...SCRIPTS];
const OXFMT = [bin('oxfmt'), '--disable-nested-config', '--no-error-on-unmatched-pattern'];

/** @type {Readonly<Record<string, readonly string[]>>} */
const TOOLS = {
  oxlint: OXLINT,
  // types were checked by the build, which has the same tsconfig.json
  typedoc: [
    ...[bin('typedoc'), '--emit', 'none', '--disableSources', '--skipErrorChecking', '--treatWarningsAsErrors'],
    ...['--logLevel', 'Warn'],
  ],
  'clang-format': [bin('clang-format-node'), '--dry-run', '-Werror', ...C_FILES],
  instances: [
    process.execPath,
    join('scripts', 'tsgolint.mjs'),
    ...['no-unsafe-class-instance-assignment', ...INSTANCES],
  ],
  markdownlint: [bin('markdownlint-cli2'), ...MARKDOWN],
  tsc: [...TSC, '-p', 'scripts'],
  oxfmt: [...OXFMT, '--check', ...PRETTY],
};

/** @type {Readonly<Record<string, readonly string[]>>} */
const MENDERS = {
  oxlint: [...OXLINT, '--fix'],
  oxfmt: [...OXFMT, '--write', ...PRETTY],
  'clang-format': [bin('clang-format-node'), '-i', ...C_FILES],
  markdownlint: [bin('markdownlint-cli2'), '--fix', ...MARKDOWN],
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
  const text = files('.S', '.cmake', 'CMakeLists.txt', 'Makefile', '.sh', '.in')
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
