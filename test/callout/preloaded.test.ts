/**
 * One trap and one registry per process: where the shared libraries are preloaded, as native/host has them, the addon
 * calls those and not its own copy.
 * Broken once: the addon linked to the static libraries. Its functions then lay in turnkey.node.
 */
import { execFileSync } from 'node:child_process';
import { basename, join } from 'node:path';

import t from 'tap';

import { PROJECT_ROOT } from '../../src/record/paths.js';

/** Prints the module that the addon's trap lies in, then what becomes of a null write. */
const PROGRAM = `
  import { readFileSync } from 'node:fs';
  import { Guard } from ${JSON.stringify(join(PROJECT_ROOT, 'dist', 'src', 'index.js'))};
  import { binding } from ${JSON.stringify(join(PROJECT_ROOT, 'dist', 'src', 'callout', 'binding.js'))};
  const { signalEnter } = binding.hooks();
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\\n')) {
    const [, from, to, path] = /^(\\w+)-(\\w+) .* (\\/.*)$/.exec(line) ?? [];
    if (path !== undefined && signalEnter >= BigInt('0x' + from) && signalEnter < BigInt('0x' + to)) console.log(path);
  }
  const memset = new Guard().load('libc.so.6').func('void *memset(void *p, int c, size_t n)');
  try {
    memset(null, 0, 8);
  } catch (error) {
    console.log(error.code);
  }`;

function run(env: Readonly<Record<string, string>>): readonly string[] {
  const [module = '', ...rest] = execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
    .trim()
    .split('\n');
  return [basename(module), ...rest];
}

t.test("the addon's trap is the preloaded one, where there is one", (t) => {
  const library = join(PROJECT_ROOT, 'build', 'host', 'libturnkey_trap.so.0');
  t.match(run({ LD_PRELOAD: library }), [/^libturnkey_trap\.so/, 'ERR_CALLOUT_FAULT']);
  t.same(run({ LD_PRELOAD: '' }), ['turnkey.node', 'ERR_CALLOUT_FAULT']);
  t.end();
});
