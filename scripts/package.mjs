// What `npm pack` and `npm publish` do before (prepack) and after (postpack): prebuilds/ is made, and the compiled
// files lose what only a checkout needs. `node scripts/package.mjs` prepares, `--restore` puts the checkout back;
// `--into DIR` prepares a copy in an empty folder, and leaves the checkout alone.
//
// prebuilds/turnkey-linux-x64/ holds the addon for every Node since Node-API 8, and the harness's programs and
// libraries, stripped. Built on Debian 12 they need glibc 2.34 and the libstdc++ of GCC 11, which Debian 12,
// Ubuntu 22.04 and RHEL 9 have. On anything older npm builds the addon from source (scripts/install.mjs).

import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { Ajv } from 'ajv';
import standaloneCode from 'ajv/dist/standalone/index.js';
import { build, transform } from 'esbuild';
import ts from 'typescript';

import { buildNative, buildTypeScript, ensurePrerequisites, fail, root, SetupError } from './setup.mjs';

/** The library that `turnkey guard` preloads, and the two that it shares with the addon: found by their sonames. */
const HOST = ['libturnkey-host.so', 'libturnkey_trap.so.0', 'libturnkey_pkeys.so.0'];

/** From build/, and the name in the package. turnkey-lua needs Lua and libffi, and is for a checkout. */
/** @type {readonly (readonly [string, string])[]} */
const PREBUILT = [
  ['packaged/turnkey.node', 'node-napi-v8.node'],
  ...['turnkey_baseline.node', 'libturnkey_warm.so'].map((name) => /** @type {const} */ ([`Release/${name}`, name])),
  ...['', '_ctor', '_dtor', '_throw'].map(
    (kind) => /** @type {const} */ ([`Release/libturnkey_foreign${kind}.so`, `libturnkey_foreign${kind}.so`]),
  ),
  ...HOST.map((name) => /** @type {const} */ ([`host/${name}`, name])),
  ...['agent', 'bench', 'conformance', 'watch'].map(
    (name) => /** @type {const} */ ([`packaged/turnkey-${name}`, `turnkey-${name}`]),
  ),
];

function run(/** @type {string} */ command, /** @type {string[]} */ ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new SetupError(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
  return stdout.trim();
}

/** The commit, with + where tracked files differ from it; null outside a repository. */
function commit() {
  const git = (/** @type {string[]} */ ...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  const { status, stdout } = git('rev-parse', '--short=12', 'HEAD');
  if (status !== 0) return null;
  return `${stdout.trim()}${git('status', '--porcelain', '--untracked-files=no').stdout === '' ? '' : '+'}`;
}

/** Makes prebuilds/ in a folder from what was built here. */
export function prebuild(/** @type {string} */ into) {
  const folder = join(into, 'prebuilds', 'turnkey-linux-x64');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [from, to] of PREBUILT) {
    copyFileSync(join(root, 'build', from), join(folder, to));
    run('strip', '--strip-unneeded', join(folder, to));
  }
  const [compiler] = run('c++', '--version').split('\n');
  writeFileSync(join(folder, 'built.json'), `${JSON.stringify({ commit: commit(), compiler }, null, 2)}\n`);
}

/**
 * The files of src/ that a user's code imports. They keep their lines and names, to be read and stepped through. What
 * is said of their functions, the declarations beside them say too.
 */
const LIBRARY = /^src\/(?:[^/]+\.js|(?:callout|image)\/)/;

/** Compiled parts that only a checkout has: two commands, and all experiments in one file (src/record/paths.ts). */
const CHECKOUT_ONLY = [
  'src/campaign',
  'src/cli/campaign.js',
  'src/squeak',
  'src/cli/squeak.js',
  'src/hosts',
  'src/cli/hosts.js',
  'experiments/hosts',
  'trial',
];

/** The files below a folder with one of these endings, by their whole paths. */
const filesBelow = (/** @type {string} */ folder, /** @type {RegExp} */ ending) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => join(folder, name));

/** Takes away what nobody reaches in the package: bundled packages, and types that no export of package.json names. */
async function prune(/** @type {string} */ dist) {
  for (const part of CHECKOUT_ONLY) rmSync(join(dist, part), { recursive: true, force: true });

  const own = ['src', 'experiments'].flatMap((folder) => filesBelow(join(dist, folder), /\.m?js$/));
  const { metafile } = await build({
    entryPoints: own,
    outdir: dist,
    absWorkingDir: dist,
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    external: ['./campaign.js', './squeak.js', './hosts.js'], // looked for before they are imported
    logLevel: 'error',
  });
  const imported = new Set(Object.keys(metafile.inputs).map((name) => join(dist, name)));
  for (const path of filesBelow(join(dist, 'vendor'), /\.js$/)) if (!imported.has(path)) rmSync(path);

  /** @type {{ exports: Record<string, string | { types: string }> }} */
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const types = Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : [join(dist, '..', entry.types)],
  );
  const options = { noLib: true, module: ts.ModuleKind.NodeNext, types: [] };
  const named = new Set(
    ts
      .createProgram(types, options)
      .getSourceFiles()
      .map(({ fileName }) => fileName),
  );
  for (const path of filesBelow(dist, /\.d\.[cm]?ts$/)) if (!named.has(path)) rmSync(path);
}

/**
 * Takes from compiled files what only a checkout needs: what the package does not reach, comments, and the names of
 * source maps, which are not packed; of the harness, the spaces and local names too.
 */
export async function slim(/** @type {string} */ dist) {
  await compileSchemas(dist);
  await prune(dist);
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter(
    (name) => /\.[cm]?js$/.test(name) && !/^(?:test|vendor)\//.test(name),
  );
  for (const name of files) {
    const path = join(dist, name);
    const text = readFileSync(path, 'utf8').replace(/^\/\/# sourceMappingURL=.*\n?/m, '');
    const format = name.endsWith('.cjs') ? 'cjs' : 'esm';
    const { code } = await transform(text, { minify: !LIBRARY.test(name), target: 'node20', format });
    writeFileSync(path, code);
  }
}

/** Puts the compiled schema of a run in the place of what compiles it: ajv is half as large again, packed. */
async function compileSchemas(/** @type {string} */ dist) {
  const built = (/** @type {string} */ name) => import(pathToFileURL(join(root, 'dist', 'src', 'record', name)).href);
  const { OPTIONS } = await built('validator.js');
  const { RUN_SCHEMA } = await built('schema.js');
  const ajv = new Ajv({ ...OPTIONS, code: { source: true, esm: true } });
  const contents = standaloneCode.default(ajv, ajv.compile(RUN_SCHEMA));
  const { outputFiles } = await build({
    stdin: { contents: `${contents}\nexport const compileSchema = () => validate;`, resolveDir: root },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
  });
  writeFileSync(join(dist, 'src', 'record', 'validator.js'), outputFiles[0]?.contents ?? '');
}

const dist = join(root, 'dist');
/** The compiled files of the checkout meanwhile. */
const kept = join(root, 'build', 'dist-unpacked');

function restore() {
  if (!existsSync(kept)) return;
  rmSync(dist, { recursive: true, force: true });
  renameSync(kept, dist);
}

/** What of the checkout goes into the package, besides prebuilds/: package.json's `files` say it more closely. */
const PARTS = ['package.json', 'README.md', 'LICENSE', 'CMakeLists.txt', 'cmake', 'native', 'scripts/install.mjs'];

/** The package's folder as a copy, from what was built here. */
export async function stage(/** @type {string} */ into) {
  for (const part of PARTS) cpSync(join(root, part), join(into, part), { recursive: true });
  const wanted = (/** @type {string} */ path) => !/\.map$|^\/(?:test|\.)/.test(path.slice(dist.length));
  cpSync(dist, join(into, 'dist'), { recursive: true, filter: wanted });
  prebuild(into);
  await slim(join(into, 'dist'));
}

async function prepare() {
  restore(); // what an interrupted one has left
  ensurePrerequisites({ emulated: false });
  buildNative();
  buildTypeScript();
  prebuild(root);
  cpSync(dist, kept, { recursive: true });
  rmSync(join(dist, '.turnkey-stamp'), { force: true });
  await slim(dist);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const [what, into] = process.argv.slice(2);
    if (what === '--restore') restore();
    else if (what === '--into' && into !== undefined) await stage(into);
    else await prepare();
  } catch (error) {
    fail(error);
  }
}
