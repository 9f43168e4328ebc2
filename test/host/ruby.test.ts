/**
 * Ruby behind native/host, unported: ruby.rb under each mechanism, with the system's Ruby, Fiddle and ffi gem. Keys are
 * tried in a guest of its own.
 * Broken once: the pages of objects not adopted; libruby's malloc not replaced; strings not lent; frozen strings not
 * told apart; Fiddle's own objects closed, so that Pointer#ref could not be written; rbffi_frame_pop not replaced, so
 * that no function of the gem raised; rb_thread_call_with_gvl not replaced, so that no callback of Fiddle's ran.
 * limit: 200 s
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { hostCpu, showsKeys } from '../../src/machine/host.mjs';
import { PROJECT_ROOT } from '../../src/record/paths.js';

const RUBY = '/usr/bin/ruby';
const LIBRARY = join(PROJECT_ROOT, 'build-c', 'host', 'libturnkey-host.so');
const SCRIPT = join(PROJECT_ROOT, 'test', 'host', 'ruby.rb');

/** The tests of ruby.rb, as it prints them. */
const names = [...readFileSync(SCRIPT, 'utf8').matchAll(/^def (test_\w+)/gm)].map(([, name = '']) => name);

/** What travels into the guest, and the folders to load it from: the guest has no RubyGems. */
const FILES =
  'require "fiddle"; require "fiddle/import"; require "ffi"; require "rbconfig";' +
  'gem = Gem.loaded_specs["ffi"]; conf = Dir[gem.full_gem_path + "/lib/ffi/platform/x86_64-linux/types.conf"];' +
  'puts RUBY_VERSION, gem.full_require_paths.join(" "), $LOADED_FEATURES.select { |path| File.file? path }, conf';

const probe = spawnSync(RUBY, ['-e', FILES], { encoding: 'utf8' });
const [version = '', folders = '', ...files] = String(probe.stdout).trim().split('\n');
const missing = version.startsWith('3.1.') ? false : `no ${RUBY} of version 3.1 with fiddle and the ffi gem`;

/** Every test of the script passed, and the program came to its end with the right answer. */
function judge(t: Test, output: string, status: number | null): void {
  const lines = output.split(/\r?\n/);
  for (const name of names) t.ok(lines.includes(`ok ${name}`), name);
  t.ok(lines.includes('sum 500500'), 'the program ends with the right answer');
  t.equal(status, 0);
  if (!t.passing()) t.comment(output);
}

for (const mechanism of ['flag', 'mprotect-range'])
  t.test(`Ruby's callouts and heap under ${mechanism}`, { skip: missing }, (t) => {
    const { stdout, stderr, status } = spawnSync(RUBY, [SCRIPT], {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: LIBRARY, TURNKEY_HOST_MECHANISM: mechanism },
      timeout: 100_000,
    });
    judge(t, stdout + stderr, status);
    t.end();
  });

t.test(
  'Ruby under keys',
  { skip: missing || (showsKeys(hostCpu().flags) && 'this CPU has keys: the guest is for those without') },
  (t) => {
    const taken = [RUBY, LIBRARY, SCRIPT, ...files];
    const include = folders
      .split(' ')
      .map((folder) => `-I ${folder}`)
      .join(' ');
    const environment = `TURNKEY_HOST_MECHANISM=pkeys LD_PRELOAD=${LIBRARY}`;
    const command = `${environment} exec ${RUBY} --disable-gems ${include} ${SCRIPT}`;
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [
        join(PROJECT_ROOT, 'dist', 'src', 'cli', 'main.js'),
        'emulated',
        ...taken.flatMap((path) => ['--with', path]),
        '--',
        '/bin/sh',
        '-c',
        command,
      ],
      { encoding: 'utf8', timeout: 180_000 },
    );
    judge(t, stdout + stderr, status);
    t.end();
  },
);
