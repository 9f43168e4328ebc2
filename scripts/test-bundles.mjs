// What tests import over and over, each as one file with its compiled code beside it (src/trial/launch.cts). Under
// software emulation, finding and compiling the test runner's 200 modules took 4 s of each test file. The library's 40
// took half of what a child process lived. Part of `npm run build:ts` (scripts/bundle.mjs).
//
//   dist/test/node_modules/tap   what test files import as 'tap', in every lane
//   dist/test/bundled/turnkey    the library with its koffi, for the children that tests start in the guest
//                                (test/support/callout.ts); in the native lane they import the files of dist/src/

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

import { build } from 'esbuild';

const NO_CODE = 'no code kept (tests start slower)';

/**
 * One CommonJS file of an entry, with its launcher.
 * @param {{ root: string, folder: string, name: string, contents: string, external?: string[], own?: string }} what
 *   `own`: the file that import.meta.url names
 */
async function bundleOne({ root, folder, name, contents, external = [], own }) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.cjs`);
  const from = JSON.stringify(relative(folder, own ?? file));
  const path = `require('node:path').resolve(__dirname, ${from})`;
  await build({
    stdin: { contents, resolveDir: root },
    outfile: file,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    external,
    banner: { js: `const ownUrl = require('node:url').pathToFileURL(${path}).href;` },
    define: { 'import.meta.url': 'ownUrl' },
    logLevel: 'error',
  });
  copyFileSync(join(root, 'dist', 'src', 'trial', 'launch.cjs'), join(folder, 'launch.cjs'));
  rmSync(`${file}.code`, { force: true });
}

/** Runs a script once, so that what it compiles is kept. @param {string} root @param {string} script */
function keepCode(root, script) {
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, TURNKEY_KEEP_CODE: '1' },
  });
  if (status !== 0) process.stderr.write(`${NO_CODE}: ${stderr}\n`);
}

/** @param {string} root */
export async function bundleForTests(root) {
  const test = join(root, 'dist', 'test');
  const tap = join(test, 'node_modules', 'tap');
  // tap leaves what lies below node_modules/@tapjs out of the traces that it prints
  const runner = join(test, 'node_modules', '@tapjs', 'runner');
  await bundleOne({ root, folder: runner, name: 'runner', contents: "module.exports = require('tap');" });
  mkdirSync(tap, { recursive: true });
  writeFileSync(join(tap, 'package.json'), `${JSON.stringify({ name: 'tap', exports: './index.cjs' })}\n`);
  writeFileSync(join(tap, 'index.cjs'), "module.exports = require('../@tapjs/runner/launch.cjs').default;\n");
  keepCode(
    root,
    `import t from ${JSON.stringify(join(tap, 'index.cjs'))};
     t.test('all of it', (t) => {
       t.equal(1, 1); t.same([{ a: 1 }], [{ a: 1 }]); t.strictSame([1], [1]); t.match({ a: 'b' }, { a: /b/ });
       t.ok(1); t.notOk(0); t.throws(() => { throw new Error('x'); }, /x/); t.doesNotThrow(() => 1);
       t.end();
     });
     t.test('later', async (t) => { await t.rejects(Promise.reject(new Error('x'))); });`,
  );

  const turnkey = join(test, 'bundled', 'turnkey');
  await bundleOne({
    root,
    folder: turnkey,
    name: 'turnkey',
    contents: "module.exports = { ...require('./dist/src/index.js'), koffi: require('koffi').default };",
    external: ['koffi'],
    own: join(root, 'dist', 'src', 'root.js'),
  });
  if (existsSync(join(root, 'build', 'Release', 'turnkey.node')))
    keepCode(
      root,
      `import turnkey from ${JSON.stringify(join(turnkey, 'launch.cjs'))};
       const image = turnkey.Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
       const lib = new turnkey.Guard({ image, mechanism: 'mprotect-range' }).load('libc.so.6');
       lib.func('int abs(int)')(-3);
       try { lib.func('void *memset(void *, int, size_t)')(8n, 0, 1); } catch (error) { String(error.message); }
       image.verify();`,
    );
}
