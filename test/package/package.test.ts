/**
 * The package as npm packs it: what it holds, and that it installs without a compiler and with install scripts blocked.
 * It works in a folder that is no checkout. Nothing is fetched: koffi and the loader are packed from node_modules.
 * TURNKEY_TEST_PACKAGE=full (npm run test:package) adds what fetches from the registry or takes long. More than 400
 * lines: one packed file, which takes long to make, serves all.
 *
 * lanes: native
 * limit: 300 s
 */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';

import t from 'tap';
import ts from 'typescript';

import { inProject } from '../../src/record/paths.js';
import { readRun } from '../../src/record/store.js';

/** A packed tarball is smaller; see scripts/package.mjs for what takes the room. */
const MOST_BYTES = 1_000_000;
/** What Debian 12 builds ask for: glibc merged its thread library in 2.34, GCC 11 made GLIBCXX_3.4.29. */
const NEWEST: Readonly<Record<string, string>> = { GLIBC: '2.34', GLIBCXX: '3.4.29', CXXABI: '1.3.13', GCC: '7.0.0' };

const full = process.env['TURNKEY_TEST_PACKAGE'] === 'full';
const fullOnly = full ? false : 'fetches from the registry or takes long: npm run test:package';

// Outside the checkout: no folder above may hold a node_modules.
const scratch = mkdtempSync(join(tmpdir(), 'turnkey-package-'));
t.teardown(() => {
  rmSync(scratch, { recursive: true, force: true });
});
const staged = join(scratch, 'staged');

/** Programs by name, and no others: no compiler, no CMake, no make. */
const bare = join(scratch, 'bin');
mkdirSync(bare);
symlinkSync(process.execPath, join(bare, 'node'));
for (const name of ['sh', 'env', 'uname', 'dirname', 'sed', 'ldd', 'cat'])
  if (existsSync(`/bin/${name}`)) symlinkSync(`/bin/${name}`, join(bare, name));

/** npm's own program, run by this Node whatever PATH says. */
const npmCli = (() => {
  const found = [
    join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    process.env['npm_execpath'] ?? '',
    ...(process.env['PATH'] ?? '')
      .split(':')
      .map((folder) => join(folder, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js')),
  ].find((path) => path.endsWith('npm-cli.js') && existsSync(path));
  if (found === undefined) throw new Error('npm was not found beside node');
  return found;
})();

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): SpawnSyncReturns<string> & { readonly text: string } {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|TAP|NODE_(OPTIONS|PATH|V8))/i.test(name)),
  );
  const ended = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...inherited, ...env }, maxBuffer: 1 << 26 });
  if (ended.error !== undefined) throw ended.error;
  return { ...ended, text: ended.stdout + ended.stderr };
}
const npm = (args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}) =>
  run(process.execPath, [npmCli, '--no-audit', '--no-fund', '--no-update-notifier', ...args], cwd, env);

/** Packs a folder; the tarball's path. */
function pack(folder: string): string {
  const { status, stdout, text } = npm(['pack', '--ignore-scripts', '--json', '--pack-destination', scratch], folder);
  if (status !== 0) throw new Error(text);
  const [{ filename } = { filename: '' }] = JSON.parse(stdout) as readonly { readonly filename: string }[];
  return join(scratch, filename);
}

/** An empty folder with a package.json. */
function emptyFolder(name: string): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
  return folder;
}

mkdirSync(staged);
const staging = run(process.execPath, [inProject('scripts/package.mjs'), '--into', staged], inProject('.'));
if (staging.status !== 0) throw new Error(staging.text);
const tarball = pack(staged);
/** What npm would fetch beside it: so an install needs no registry. */
const dependencies = ['koffi', '@koromix/koffi-linux-x64', 'pkg-prebuilds'].map((name) =>
  pack(inProject(join('node_modules', name))),
);

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

const installed = emptyFolder('installed');
const installing = npm(['install', '--offline', '--ignore-scripts', tarball, ...dependencies], installed, {
  PATH: bare,
});
const home = join(installed, 'node_modules', 'turnkey');

/** README's first fragment, as the JavaScript that TypeScript makes of it. */
function readmeExample(): string {
  const fragment = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(inProject('README.md'), 'utf8'))?.[1] ?? '';
  return ts.transpileModule(fragment, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  }).outputText;
}
writeFileSync(join(installed, 'example.mjs'), readmeExample());

t.test('it holds what a user needs, in less than 1 MB', (t) => {
  const bytes = statSync(tarball).size;
  t.ok(bytes < MOST_BYTES, `${bytes} bytes packed`);
  const files = filesBelow(home);
  t.ok(files.includes('prebuilds/turnkey-linux-x64/node-napi-v8.node'), 'the addon');
  t.ok(files.includes('native/trap/trap.c') && files.includes('CMakeLists.txt'), 'and its sources');
  t.strictSame(
    files.filter((name) =>
      /\.(map|tsbuildinfo|code)$|^(results|test|docs|build)\/|^dist\/test\/|windows|aarch64/.test(name),
    ),
    [],
    'nothing of the tests, the records, the maps, other platforms',
  );
  const { dependencies: needed = {} } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as {
    readonly dependencies?: Readonly<Record<string, string>>;
  };
  t.strictSame(Object.keys(needed).sort(), ['koffi', 'pkg-prebuilds'], 'and a user installs two packages beside it');
  t.end();
});

t.test('its programs run where glibc 2.34 and the libstdc++ of GCC 11 are', (t) => {
  const folder = join(home, 'prebuilds', 'turnkey-linux-x64');
  const newer = (a: string, b: string): boolean => a.localeCompare(b, 'en', { numeric: true }) > 0;
  for (const name of readdirSync(folder).filter((file) => file !== 'built.json')) {
    const { status, stdout, text } = run('objdump', ['-T', join(folder, name)], folder);
    t.equal(status, 0, text.slice(0, 200));
    const wanted = [...stdout.matchAll(/\b(GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)/g)];
    t.strictSame(
      wanted.filter(([, kind = '', version = '']) => newer(version, NEWEST[kind] ?? '')).map(([symbol]) => symbol),
      [],
      name,
    );
  }
  t.end();
});

t.test('it installs without a compiler, with install scripts blocked, and runs the example of README', (t) => {
  t.equal(installing.status, 0, installing.text);
  t.notOk(existsSync(join(home, 'build')), 'nothing was built');
  const { status, text } = run('node', ['example.mjs'], installed, { PATH: bare });
  t.equal(status, 0, text);
  t.match(text, /^exception in FFI call: memset .* in space 'old' \+0x40/);
  t.match(text, /The image is protected/);
  t.end();
});

t.test('the install script leaves the prebuilt addon alone, and needs no compiler', (t) => {
  const { status, text } = run('node', [join('scripts', 'install.mjs')], home, { PATH: bare });
  t.equal(status, 0, text);
  t.equal(text, '', 'and says nothing');
  t.notOk(existsSync(join(home, 'build')));
  t.end();
});

t.test('the install script does nothing in a checkout, without a compiler and under TURNKEY_NO_INSTALL', (t) => {
  const folder = join(scratch, 'checkout');
  mkdirSync(join(folder, 'scripts'), { recursive: true });
  for (const name of ['install.mjs', 'setup.mjs']) cpSync(inProject(`scripts/${name}`), join(folder, 'scripts', name));
  cpSync(inProject('package.json'), join(folder, 'package.json'));
  const { status, text } = run('node', ['scripts/install.mjs'], folder, { PATH: bare, TURNKEY_NO_INSTALL: '1' });
  t.strictSame({ status, text }, { status: 0, text: '' });
  t.strictSame(readdirSync(folder).sort(), ['package.json', 'scripts']);
  t.end();
});

t.test('without a prebuilt addon and a compiler, the install script names what is missing', (t) => {
  const folder = join(scratch, 'bare');
  cpSync(home, folder, { recursive: true });
  for (const name of ['koffi', '@koromix', 'pkg-prebuilds'])
    cpSync(join(installed, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
  rmSync(join(folder, 'prebuilds'), { recursive: true });
  const { status, text } = run('node', ['scripts/install.mjs'], folder, { PATH: bare });
  t.equal(status, 1);
  t.match(
    text,
    /^turnkey: no prebuilt addon fits this system, and building it needs cmake, make, g\+\+: apt-get install/,
  );
  const imported = run(
    'node',
    ['-e', "import('./dist/src/index.js').catch((e) => console.log(e.code, String(e.stack)))"],
    folder,
  );
  t.match(
    imported.text,
    /^ERR_ADDON_MISSING Error: There is no Turnkey addon in .*: build it with `npm rebuild turnkey`/,
  );
  t.equal(imported.text.trim().split('\n').length, 1, 'one sentence, not a stack');
  t.end();
});

// Broken once: index.ts imported src/record/words.js for a type's sake, without `type`: listed.
t.test('importing it loads koffi, the loader of the addon, and nothing of the harness', (t) => {
  const coverage = join(scratch, 'coverage');
  const { status, text } = run('node', ['-e', "import('turnkey')"], installed, { NODE_V8_COVERAGE: coverage });
  t.equal(status, 0, text);
  const loaded = readdirSync(coverage).flatMap((name) =>
    (
      JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { readonly result: readonly { readonly url: string }[] }
    ).result
      .map(({ url }) => url)
      .filter((url) => url.startsWith('file://'))
      .map((url) => relative(join(installed, 'node_modules'), url.slice('file://'.length))),
  );
  t.ok(loaded.includes('turnkey/dist/src/callout/guard.js'), `${loaded.length} modules seen`);
  t.strictSame(
    loaded.filter(
      (path) =>
        !/^(koffi|@koromix\/koffi-linux-x64|pkg-prebuilds)\//.test(path) &&
        !/^turnkey\/dist\/src\/(?:\w+|(?:callout|image|scan)\/[\w-]+)\.js$/.test(path),
    ),
    [],
  );
  t.end();
});

t.test('turnkey guard guards a program from an installed package', (t) => {
  const program = `
    const memset = require('koffi').load('libc.so.6').func('void *memset(void *p, int c, size_t n)');
    try {
      memset(16, 1, 8);
    } catch (error) {
      console.log(error.code);
    }`;
  writeFileSync(join(installed, 'guarded.cjs'), program);
  const words = ['guard', '--mechanism', 'mprotect-range', '--', process.execPath, join(installed, 'guarded.cjs')];
  const guarded = run(join(installed, 'node_modules', '.bin', 'turnkey'), words, installed);
  t.equal(guarded.status, 0, guarded.text);
  t.match(guarded.text, /ERR_CALLOUT_FAULT/);
  t.match(
    guarded.text,
    /1 callout, 1 failed; lane native, adapter node\n.*mprotect-range closed the heap in every callout/,
  );
  t.end();
});

t.test('turnkey runs experiments from an installed package, with results in the current folder', (t) => {
  const folder = join(installed, 'elsewhere');
  mkdirSync(folder);
  const turnkey = (...args: readonly string[]) =>
    run(join(installed, 'node_modules', '.bin', 'turnkey'), args, folder, { TURNKEY_STRICT: '0' });
  const cases = turnkey(
    ...[
      'run',
      'corruption',
      '--case',
      'null-pointer,wild-write',
      '--lane',
      'native',
      '--mechanisms',
      'flag,mprotect-range',
    ],
  );
  t.equal(cases.status, 0, cases.text);
  const [name = ''] = readdirSync(join(folder, 'results'));
  const { records, context } = readRun(join(folder, 'results', name));
  const verdicts = records.flatMap((record) =>
    record.kind === 'corruption' ? [`${record.case} ${record.mechanism} ${record.verdict}`] : [],
  );
  t.strictSame(verdicts.sort(), [
    'null-pointer flag trapped',
    'null-pointer mprotect-range trapped',
    'wild-write flag damaged',
    'wild-write mprotect-range prevented',
  ]);
  const built = JSON.parse(readFileSync(join(home, 'prebuilds', 'turnkey-linux-x64', 'built.json'), 'utf8')) as {
    readonly commit: string | null;
  };
  t.equal(context.commit, built.commit, 'the records say what commit the package was made of');
  t.match(cases.text, /the charts were not drawn: npm install vega vega-lite/);
  const costs = turnkey('run', 'cost', '--case', 'callout', '--quick', '--lane', 'native', '--out', 'costs');
  t.equal(costs.status, 0, costs.text);
  t.ok(
    readRun(join(folder, 'costs')).records.some((record) => record.kind === 'cost' && record.samples.length > 0),
    'costs are measured too',
  );
  t.equal(turnkey('list').status, 0);
  t.strictSame(
    filesBelow(home).filter((path) => /results|\.code$/.test(path)),
    [],
    'nothing was written into the package',
  );
  t.end();
});

t.test('elsewhere, importing it is one sentence', (t) => {
  const fake = (name: string, lines: string): string => {
    const path = join(scratch, `${name}.mjs`);
    writeFileSync(path, lines);
    return path;
  };
  const system = (platform: string, arch: string): string =>
    fake(
      `${platform}-${arch}`,
      `for (const [name, value] of Object.entries({ platform: '${platform}', arch: '${arch}' }))
         Object.defineProperty(process, name, { value });`,
    );
  const musl = fake(
    'musl',
    `import fs from 'node:fs';
     import { syncBuiltinESMExports } from 'node:module';
     const { existsSync } = fs;
     fs.existsSync = (path) => path === '/lib/ld-musl-x86_64.so.1' || existsSync(path);
     process.report.getReport = () => ({ header: {} });
     syncBuiltinESMExports();`,
  );
  for (const [what, preload] of [
    ['darwin on arm64', system('darwin', 'arm64')],
    ['win32 on x64', system('win32', 'x64')],
    ['linux on arm64', system('linux', 'arm64')],
    ['linux on x64 with musl', musl],
  ] as const) {
    const { status, text } = run(
      'node',
      ['--import', preload, '-e', "import 'turnkey'", '--input-type=module'],
      installed,
    );
    t.equal(status, 1, what);
    t.match(text, `Turnkey runs on Linux on x86-64 with glibc, and this is ${what}: `);
    t.notMatch(text, /^\s+at /m, 'without a stack');
    const quiet = run(
      'node',
      ['--import', preload, join('node_modules', 'turnkey', 'scripts', 'install.mjs')],
      installed,
    );
    t.equal(quiet.status, 0, `${what}: an install is not refused`);
  }
  t.end();
});

// Broken once: without the check of its own file, esm ended in a 'Dynamic require', cjs in ERR_INVALID_ARG_TYPE.
t.test('bundled, it says in one sentence how to keep it out of the bundle', (t) => {
  writeFileSync(
    join(installed, 'bundled.mjs'),
    `import { Guard } from 'turnkey';
     console.log(new Guard({ mechanism: 'none' }).load(null).func('int abs(int)')(-3));\n`,
  );
  for (const [format, out] of [
    ['esm', 'bundle.mjs'],
    ['cjs', 'bundle.cjs'],
  ] as const) {
    const bundle = (...more: readonly string[]): void => {
      const { status, text } = run(
        inProject('node_modules/.bin/esbuild'),
        ['bundled.mjs', '--bundle', '--platform=node', `--format=${format}`, `--outfile=${out}`, ...more],
        installed,
      );
      t.equal(status, 0, text);
    };
    bundle();
    const inside = run('node', [out], installed);
    t.equal(inside.status, 1, format);
    t.match(
      inside.text,
      `[Error: There is no Turnkey addon at ${join(installed, 'prebuilds/turnkey-linux-x64/node-napi-v8.node')}, ` +
        `since Turnkey was bundled into ${join(installed, out)} without its addon: keep it out of the bundle ` +
        '(esbuild: --external:turnkey), and install turnkey beside the bundle.]',
    );
    t.notMatch(inside.text, /^\s+at /m, 'without a stack');
    bundle('--external:turnkey');
    const outside = run('node', [out], installed);
    t.strictSame({ status: outside.status, text: outside.text }, { status: 0, text: '3\n' }, `${format}, external`);
  }
  t.end();
});

// Broken once: the code ERR_DLOPEN_DISABLED was passed on as it came.
t.test("under Node's permission model it says that --allow-addons is missing", (t) => {
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission';
  const flags = [permission, '--allow-fs-read=*', '--no-warnings'];
  const denied = run('node', [...flags, 'example.mjs'], installed);
  t.equal(denied.status, 1);
  t.match(
    denied.text,
    `[Error: Node may not load the Turnkey addon ${join(home, 'prebuilds/turnkey-linux-x64/node-napi-v8.node')}: its ` +
      'permission model needs --allow-addons, and --no-addons keeps out all addons.]',
  );
  const allowed = run('node', [...flags, '--allow-addons', 'example.mjs'], installed);
  t.equal(allowed.status, 0, allowed.text);
  t.end();
});

t.test('its types resolve in a strict TypeScript project', (t) => {
  mkdirSync(join(installed, 'types'));
  writeFileSync(
    join(installed, 'types', 'main.ts'),
    `import { CalloutError, Guard, Image, probe, type GuardMechanism } from 'turnkey';
     import type { CorruptionCase } from 'turnkey/experiment';
     const image: Image = Image.map({ spaces: [{ name: 'old', bytes: 4096 }] });
     const mechanism: GuardMechanism = probe().usable ? 'pkeys' : 'mprotect-range';
     const guard = new Guard({ image, mechanism });
     try { guard.load(null).func('int abs(int)')(-1); } catch (error) {
       if (error instanceof CalloutError) { const pc: bigint = error.pc; void pc; }
     }
     // @ts-expect-error a mechanism that there is not
     new Guard({ image, mechanism: 'hope' });
     export type Question = CorruptionCase['summary'];\n`,
  );
  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ] as const) {
    const { status, text } = run(
      process.execPath,
      [
        inProject('node_modules/typescript/bin/tsc'),
        ...['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--target', 'es2022'],
        ...['--module', module, '--moduleResolution', moduleResolution],
        ...['--typeRoots', inProject('node_modules/@types'), '--types', 'node', 'types/main.ts'],
      ],
      installed,
    );
    t.equal(status, 0, `${moduleResolution}: ${text}`);
  }
  t.end();
});

t.test('publint and attw find nothing, and npm would publish it', { skip: fullOnly }, (t) => {
  const tools = emptyFolder('tools');
  const fetched = npm(['install', '--prefer-offline', 'publint@0.3', '@arethetypeswrong/cli@0.18'], tools);
  t.equal(fetched.status, 0, fetched.text);
  const lint = run(join(tools, 'node_modules', '.bin', 'publint'), ['run', tarball, '--strict'], tools);
  t.equal(lint.status, 0, lint.text);
  t.match(lint.text, /All good!/);
  // ESM only: Node 20.19 and later can require() it; TypeScript says so under node16 from CommonJS.
  const types = run(join(tools, 'node_modules', '.bin', 'attw'), [tarball, '--profile', 'esm-only'], tools);
  t.equal(types.status, 0, types.text);
  const publish = npm(['publish', '--dry-run', '--ignore-scripts', '--tag', 'next', tarball], tools);
  t.equal(publish.status, 0, publish.text);
  // Without an account npm says so; what it would correct in package.json, it says too.
  t.notMatch(publish.text, /npm (warn|error) (?!publish This command requires you to be logged in)/);
  t.end();
});

t.test('with a compiler and no prebuilt addon, npm builds it from source', { skip: fullOnly }, (t) => {
  const source = join(scratch, 'source');
  cpSync(staged, source, { recursive: true });
  rmSync(join(source, 'prebuilds'), { recursive: true });
  const folder = emptyFolder('compiled');
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'compiled', private: true, type: 'module', allowScripts: { turnkey: true } }),
  );
  const { status, text } = npm(['install', '--prefer-offline', pack(source), ...dependencies], folder);
  t.equal(status, 0, text);
  const own = join(folder, 'node_modules', 'turnkey');
  t.ok(existsSync(join(own, 'build', 'Release', 'turnkey.node')), text);
  writeFileSync(join(folder, 'example.mjs'), readmeExample());
  const example = run('node', ['example.mjs'], folder);
  t.equal(example.status, 0, example.text);
  t.match(example.text, /The image is protected/);
  t.end();
});

for (const version of ['20', '22', '24', '26']) {
  t.test(`README's example runs on Node ${version}`, { skip: fullOnly }, (t) => {
    const { status, stdout, text } = run(
      process.execPath,
      [inProject('scripts/test-node.mjs'), '--binary', version],
      inProject('.'),
    );
    t.equal(status, 0, text);
    const example = run(stdout.trim().split('\n').at(-1) ?? '', ['example.mjs'], installed);
    t.equal(example.status, 0, example.text);
    t.match(example.text, /The image is protected/);
    t.end();
  });
}
