/**
 * `node --import turnkey/register`: every koffi of a program that knows nothing of Turnkey is guarded.
 * Broken once: the guarded surface without `encode` (the encode lines of faults.mjs die); workers left alone (those
 * with an execArgv of their own die).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import module from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import t from 'tap';

import { PROJECT_ROOT } from '../../src/record/paths.js';
import { watchForNodeFfi } from '../../src/register/node-ffi.js';

const REGISTER = pathToFileURL(join(PROJECT_ROOT, 'dist', 'src', 'register', 'index.js')).href;
const DATA = join(PROJECT_ROOT, 'test', 'data', 'register');

const run = (
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } =>
  spawnSync(process.execPath, words, { cwd: DATA, encoding: 'utf8', env: { ...process.env, ...env } });

t.test('a program prints the same with koffi guarded', (t) => {
  const plain = run(['list.mjs']);
  const guarded = run(['--import', REGISTER, 'list.mjs']);
  t.equal(plain.status, 0, plain.stderr);
  t.ok(plain.stdout.split('\n').length > 30);
  t.same(guarded.stdout.split('\n'), plain.stdout.split('\n'), guarded.stderr);
  t.equal(guarded.status, 0);
  t.end();
});

t.test('bad callouts are errors, by import and require, on the main thread and in workers', (t) => {
  for (const how of [
    ['--import', REGISTER],
    ['--require', join(PROJECT_ROOT, 'dist', 'src', 'register', 'preload.cjs')],
  ]) {
    const { status, stdout, stderr } = run([...how, 'faults.mjs']);
    t.equal(status, 0, stderr);
    const lines = stdout.trim().split('\n');
    t.equal(lines.length, 3 * 8, stdout);
    for (const line of lines) t.match(line, /^(main|worker) (import|require) \S+ ERR_CALLOUT_FAULT \S+ SIGSEGV true$/);
  }
  t.end();
});

t.test('options: a file, the environment before it, and one clear error each', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-register-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const config = join(folder, 'turnkey.config.json');
  const start = (text: string, env: Readonly<Record<string, string>> = {}): readonly [number | null, string] => {
    writeFileSync(config, text);
    const { status, stderr } = spawnSync(process.execPath, ['--import', REGISTER, '-e', '0'], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
    return [status, stderr];
  };
  t.same(start('{"mechanism": "flag", "response": "declared", "foreignStack": false, "decodeLimit": 4096}'), [0, '']);
  for (const [text, env, sentence] of [
    ['{', {}, /^turnkey: Turnkey cannot read its options in .*turnkey\.config\.json: /],
    ['[]', {}, /^turnkey: Turnkey's options in .* must be an object/],
    ['{"mechanisms": 1}', {}, /^turnkey: There is no option 'mechanisms' in .*; there are mechanism, response,/],
    ['{"response": "maybe"}', {}, /^turnkey: 'response' in .* must be one of never, declared, always; it is "maybe"/],
    ['{"decodeLimit": 10}', { TURNKEY_DECODE_LIMIT: 'x' }, /^turnkey: TURNKEY_DECODE_LIMIT must be one of a positive/],
  ] as const) {
    const [status, stderr] = start(text, env);
    t.equal(status, 1);
    t.match(stderr, sentence);
    t.equal(stderr.trim().split('\n').length, 1, stderr);
  }
  t.end();
});

t.test('where nothing keys the heap, a mechanism for it is refused, and the command that does it is named', (t) => {
  const { status, stderr } = run(['--import', REGISTER, 'faults.mjs'], { TURNKEY_MECHANISM: 'pkeys' });
  t.equal(status, 1);
  t.match(stderr, /npx turnkey guard --mechanism pkeys -- node/);
  t.end();
});

t.test('a program that imports node:ffi is warned once that it is not guarded yet', async (t) => {
  type Resolve = (specifier: string, context: unknown, next: (specifier: string) => string) => string;
  const hooks: Resolve[] = [];
  // this Node may have no node:ffi, and no synchronous hooks
  const newer = module as unknown as { isBuiltin: unknown; registerHooks: unknown };
  const before = { isBuiltin: newer.isBuiltin, registerHooks: newer.registerHooks };
  newer.isBuiltin = (name: string) => name === 'node:ffi';
  newer.registerHooks = ({ resolve }: { resolve: Resolve }) => hooks.push(resolve);
  const warnings: NodeJS.ErrnoException[] = [];
  process.on('warning', (warning) => warnings.push(warning));
  watchForNodeFfi();
  Object.assign(newer, before);
  const resolve = (name: string): string | undefined => hooks[0]?.(name, {}, (specifier) => specifier);
  t.same(['node:fs', 'node:ffi', 'node:ffi'].map(resolve), ['node:fs', 'node:ffi', 'node:ffi']);
  await new Promise(setImmediate);
  t.same(
    warnings.map(({ code, message }) => [code, message]),
    [['TURNKEY_NODE_FFI', 'node:ffi is not guarded yet: its calls do not pass Turnkey. koffi is guarded']],
  );
});
