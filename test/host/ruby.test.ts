/**
 * Ruby behind native/host, unported: ruby.rb under each mechanism, with the system's Ruby, Fiddle and ffi gem. Keys are
 * tried in a guest of its own.
 * Broken once: the pages of objects not adopted; libruby's malloc not replaced; strings not lent; frozen strings not
 * told apart; moved strings without a zero behind them; Fiddle's own objects closed, so that Pointer#ref could not be
 * written; rbffi_frame_pop not replaced, so that no function of the gem raised; rb_thread_call_with_gvl not replaced,
 * so that no callback of Fiddle's ran; Ruby's SIGSEGV handler with the kernel's rights, so that under keys it wrote no
 * report; learning's handler not put back after that, so that nothing was learned.
 * limit: 200 s
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { hostCpu, showsKeys } from '../../src/machine/host.mjs';
import { PROJECT_ROOT } from '../../src/record/paths.js';
import { runInGuest } from '../support/turnkey.js';

const RUBY = '/usr/bin/ruby';
const LIBRARY = join(PROJECT_ROOT, 'build-c', 'host', 'libturnkey-host.so');
const SCRIPT = join(PROJECT_ROOT, 'test', 'host', 'ruby.rb');
const CRASH = join(PROJECT_ROOT, 'test', 'host', 'ruby-crash.rb');
const LONG = join(PROJECT_ROOT, 'test', 'host', 'ruby-long.rb');
/** A million callouts with TURNKEY_LONG=1, and a tenth of that in the guest. */
const [callouts, guestCallouts] = process.env['TURNKEY_LONG'] === '1' ? [1_000_000, 100_000] : [10_000, 1000];

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

/** A fault of Ruby's own is no callout's: Ruby says so itself, and ends as it does unguarded. */
function judgeCrash(t: Test, output: string): void {
  t.match(output, /\[BUG\] Segmentation fault at 0x0*10\r?$/m);
  t.match(output, /^-- C level backtrace information/m, 'the whole report is written');
  t.match(output, /^before the fault\r?$/m);
  t.notMatch(output, /not reached|turnkey: fatal/);
}

for (const mechanism of ['flag', 'mprotect-range'])
  t.test(`Ruby's callouts and heap under ${mechanism}`, { skip: missing }, (t) => {
    const { stdout, stderr, status } = spawnSync(RUBY, [SCRIPT], {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: LIBRARY, TURNKEY_HOST_MECHANISM: mechanism },
    });
    judge(t, stdout + stderr, status);
    t.end();
  });

const guarded = (words: readonly string[], mechanism: string) =>
  spawnSync(RUBY, words, {
    encoding: 'utf8',
    env: { ...process.env, LD_PRELOAD: LIBRARY, TURNKEY_HOST_MECHANISM: mechanism },
  });

for (const mechanism of ['flag', 'mprotect-range'])
  t.test(`a fault of Ruby's own under ${mechanism}`, { skip: missing }, (t) => {
    const { stdout, stderr, signal } = guarded([CRASH], mechanism);
    judgeCrash(t, stdout + stderr);
    t.equal(signal, 'SIGABRT');
    t.end();
  });

t.test('what a program lends is learned, though Ruby sets its own SIGSEGV handler', { skip: missing }, (t) => {
  const list = join(t.testdir(), 'list');
  const text =
    'require "fiddle"; text = ("x" * 3000).freeze; address = [text].pack("p").unpack1("J"); v = Fiddle::TYPE_VOIDP;' +
    'set = Fiddle::Function.new(Fiddle::Handle::DEFAULT["memset"],' +
    '[Fiddle::TYPE_UINTPTR_T, Fiddle::TYPE_INT, Fiddle::TYPE_SIZE_T], v);' +
    'set.call(address, 66, 3); puts text[0, 5]';
  const run = (env: Readonly<Record<string, string>>) =>
    spawnSync(RUBY, ['-e', text], {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: LIBRARY, TURNKEY_HOST_MECHANISM: 'mprotect-range', ...env },
    });
  const learning = run({ TURNKEY_HOST_LEARN: list });
  t.equal(learning.stdout, 'BBBxx\n');
  t.match(
    learning.stderr,
    /^turnkey: learned: memset wrote into the memory of argument 1, memory of Ruby's, 1 times$/m,
  );
  t.equal(run({ TURNKEY_HOST_LEND: list }).stdout, 'BBBxx\n');
  t.match(run({}).stderr, /Turnkey::CalloutError/);
  t.end();
});

t.test(`${callouts} callouts on four threads, one in ten of them a fault`, { skip: missing }, (t) => {
  const { stdout, stderr } = guarded([LONG, String(callouts)], 'flag');
  t.equal(stdout, `right ${callouts} ${callouts / 10}\n`, stderr);
  t.end();
});

t.test(
  'Ruby under keys',
  { skip: missing || (showsKeys(hostCpu().flags) && 'this CPU has keys: the guest is for those without') },
  (t) => {
    const taken = [RUBY, LIBRARY, SCRIPT, CRASH, LONG, ...files];
    const include = folders
      .split(' ')
      .map((folder) => `-I ${folder}`)
      .join(' ');
    const environment = `TURNKEY_HOST_MECHANISM=pkeys LD_PRELOAD=${LIBRARY}`;
    const ruby = `${environment} ${RUBY} --disable-gems ${include}`;
    const command = `${ruby} ${CRASH}; echo crash $?; ${ruby} ${LONG} ${guestCallouts}; exec env ${ruby} ${SCRIPT}`;
    const { code, out, err } = runInGuest(taken, command);
    judge(t, out + err, code);
    judgeCrash(t, out + err);
    t.match(out, /^crash 134\r?$/m, 'it ends by SIGABRT');
    t.match(out, new RegExp(`^right ${guestCallouts} ${guestCallouts / 10}\r?$`, 'm'));
    t.end();
  },
);
