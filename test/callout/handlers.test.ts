// lanes: native, emulated
/** Signal handlers of others beside the trap's, and what loading a library leaves on the thread. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { probe } from '../../src/index.js';
import { built, runChild } from '../support/callout.js';

const FOREIGN = built('libturnkey_foreign.so');

const mechanisms = probe().usable ? ['flag', 'pkeys'] : ['flag', 'mprotect-range'];

/** A guarded library with a write barrier of its own, used before and after what `meanwhile` does. */
function barrier(mechanism: string, response: string, meanwhile: string): string {
  return `
    const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
    const guard = new Guard({ mechanism: '${mechanism}', image, response: '${response}' });
    const lib = guard.load(${JSON.stringify(FOREIGN)});
    const use = lib.func('int foreign_barrier_use(void)');
    const nullWrite = lib.func('void foreign_null_write(void)', { canFail: true });
    if (lib.func('int foreign_barrier_begin(void)')() !== 0) throw new Error('no barrier');
    console.log(use());
    ${meanwhile}
    console.log(use());
    try { if ('${response}' !== 'never') nullWrite(); } catch (error) { console.log(error.signal); }
  `;
}

/* Broken once: listenersWillChange left out (the case with a listener fails). */
t.test('I5: a library with a SIGSEGV handler of its own works, whoever makes what when', (t) => {
  const meanwhile = {
    nothing: '',
    'a second guard': `new Guard({ mechanism: 'flag' });`,
    'a listener': `process.on('SIGSEGV', () => {});`,
    'a listener that goes again': `const no = () => {}; process.on('SIGSEGV', no); process.off('SIGSEGV', no);`,
    'another library': `guard.load('libm.so.6');`,
  };
  for (const mechanism of mechanisms)
    for (const response of ['always', 'declared', 'never'])
      for (const [what, code] of Object.entries(meanwhile)) {
        const { stdout, stderr } = runChild(barrier(mechanism, response, code));
        t.equal(
          stdout,
          response === 'never' ? '1\n2\n' : '1\n2\nSIGSEGV\n',
          `${mechanism}, ${response}, ${what} ${stderr}`,
        );
      }
  t.end();
});

t.test('a callee that leaves a handler of its own by siglongjmp reads the image afterwards', (t) => {
  for (const mechanism of mechanisms) {
    const { stdout, stderr } = runChild(`
      const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
      image.fill(42);
      const old = image.space('old');
      const guard = new Guard({ mechanism: '${mechanism}', image });
      const lib = guard.load(${JSON.stringify(FOREIGN)});
      const there = old.read(8, 8).readBigUInt64LE();
      console.log(lib.func('uint64_t foreign_try_then_read(uint64_t)')(old.address + 8n) == there);
      const write = lib.func('void foreign_try_then_write(uint64_t, uint64_t)');
      try { write(old.address + 8n, 1n); console.log('written'); }
      catch (error) { console.log(error.access, error.space?.name ?? error.space, error.image); }
    `);
    t.equal(stdout, mechanism === 'flag' ? 'true\nwritten\n' : 'true\nwrite old protected\n', `${mechanism} ${stderr}`);
  }
  t.end();
});

t.test('loading gives back the floating-point environment and the signal mask', (t) => {
  const { stdout, stderr } = runChild(
    `
    const half = (value) => value / 2;
    const guard = new Guard({ mechanism: 'flag' });
    const blocked = guard.load(${JSON.stringify(FOREIGN)}).func('uint64_t foreign_blocked_signals(void)');
    const before = blocked();
    const lib = guard.load(${JSON.stringify(built('libturnkey_foreign_ctor.so'))});
    console.log(half(2.2250738585072014e-308) > 0, blocked() === before, lib.func('int foreign_ctor_loaded()')());
  `,
    { env: { TURNKEY_FOREIGN_CTOR: 'registers' } },
  );
  t.equal(stdout, 'true true 1\n', stderr);
  t.end();
});

/**
 * Time is the process's own: half a second of it, nearly all in the callee. A sampler's signals then arrive there, on
 * any machine. Broken once: --cpu-prof left out (no samples are taken).
 */
t.test('node --cpu-prof samples callouts and fails none', (t) => {
  for (const mechanism of mechanisms) {
    const folder = mkdtempSync(join(tmpdir(), 'turnkey-'));
    const { stdout, stderr } = runChild(
      `
      const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
      const guard = new Guard({ mechanism: '${mechanism}', image });
      const compare = guard.load('libc.so.6').func('int memcmp(const void *, const void *, size_t)');
      const bytes = [new Uint8Array(1 << 20), new Uint8Array(1 << 20)];
      let different = 0;
      const start = process.cpuUsage();
      while (process.cpuUsage(start).user < 500_000) different += compare(...bytes, 1 << 20);
      console.log(different, image.verify().ok);
    `,
      { flags: ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=200'] },
    );
    t.equal(stdout, '0 true\n', `${mechanism} ${stderr}`);
    const profiles = readdirSync(folder).map(
      (name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as { readonly samples: readonly number[] },
    );
    t.ok(
      profiles.some(({ samples }) => samples.length > 10),
      `${mechanism}: samples were taken`,
    );
    rmSync(folder, { recursive: true });
  }
  t.end();
});
