/**
 * Lua 5.4 with its whole heap and its C stack in an image: what the host promises, under every mechanism that this lane
 * has. The promises themselves are in test/data/vm-lua/host.lua, one check each.
 *
 * lanes: native, emulated
 * limit: 240 s
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { probeKeys } from '../../src/cli/probe.js';
import { LUA_MISSING, luaHost } from '../../src/experiment/lua-host.js';
import { laneHere } from '../../src/run/native.js';
import { built } from '../support/callout.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const scripts = 'test/data/vm-lua';
const skip = existsSync(luaHost()) ? false : LUA_MISSING;
const keys = probeKeys();
/** The guest is for what needs keys; the rest is shown natively. */
const settings: readonly (readonly string[])[] = [
  ...(laneHere() === 'native'
    ? [['flag'], ['mprotect-range'], ['mprotect-range', '--deny', 'access'], ['mprotect-page']]
    : []),
  ...(keys.usable ? [['pkeys'], ['pkeys', '--deny', 'access']] : []),
];

function run(...words: readonly string[]): {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
} {
  const { status, stdout, stderr } = spawnSync(luaHost(), words, { cwd: root, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

for (const setting of settings) {
  t.test(setting.join(' '), { skip }, (t) => {
    const { code, out, err } = run('--mechanism', ...setting, `${scripts}/host.lua`, built('').replace(/\/$/, ''));
    t.equal(code, 0, err);
    const lines = out.split('\n').filter((line) => /^(not )?ok /.test(line));
    for (const line of lines) t.ok(line.startsWith('ok '), line.replace(/^(not )?ok /, ''));
    t.equal(lines.length, 18, 'every check was made');
    t.equal(lines.at(-1), 'ok the end');
    t.end();
  });
  t.test(`${setting.join(' ')}: a heap that is full is Lua's own error`, { skip }, (t) => {
    const { code, out, err } = run('--heap', '4', '--mechanism', ...setting, `${scripts}/small-heap.lua`);
    t.equal(code, 0, err);
    t.equal(out, 'false\tnot enough memory\ttrue\ttrue\t3\t1000000\n');
    t.end();
  });
}

t.test('keys are never replaced by something else; auto says what it took', { skip }, (t) => {
  if (!keys.usable) {
    const { code, out, err } = run('--mechanism', 'pkeys', `${scripts}/small-heap.lua`);
    t.equal(code, 3);
    t.equal(out, '');
    t.match(err, 'pkeys cannot be had');
  }
  const { code, err } = run('--heap', '4', `${scripts}/small-heap.lua`);
  t.equal(code, 0, err);
  t.match(err, keys.usable ? /mechanism pkeys \(auto/ : /mechanism mprotect-range \(/);
  t.end();
});

t.test(
  'two states on two threads: mprotect makes bystanders fault and wait, the trap alone and keys do not',
  { skip },
  (t) => {
    const observed = (
      mechanism: string,
      seconds: number,
    ): { readonly bystanderFaults: number; readonly otherCallouts: number } => {
      const threads = 'experiments/vm/lua/programs/threads.lua';
      const { code, out, err } = run('--mechanism', mechanism, threads, 'busy', String(seconds));
      t.equal(code, 0, err);
      return (JSON.parse(out) as { readonly observed: ReturnType<typeof observed> }).observed;
    };
    /** Bystander faults of a run in which both threads made headway: a busy machine may take longer to let them. */
    const faults = (mechanism: string, enough: (faults: number) => boolean): number => {
      for (let seconds = 0.5; ; seconds *= 2) {
        const { bystanderFaults, otherCallouts } = observed(mechanism, seconds);
        if (seconds > 30) t.fail(`${mechanism}: nothing was seen in ${seconds} s; ${otherCallouts} callouts`);
        if (seconds > 30 || (otherCallouts > 0 && enough(bystanderFaults))) return bystanderFaults;
      }
    };
    const any = (): boolean => true;
    if (keys.usable) t.equal(faults('pkeys', any), 0, 'keys');
    t.equal(faults('flag', any), 0, 'flag');
    t.ok(faults('mprotect-range', (seen) => seen > 0) > 0, 'mprotect-range');
    t.end();
  },
);

t.test('the programs that are timed have the same answer under every mechanism', { skip }, (t) => {
  for (const program of [
    'binary-trees',
    'strings',
    'spectral-norm',
    'callouts-10',
    'callouts-10000',
    'callouts-1000000',
    'callbacks',
    'checksums',
  ]) {
    const answers = ['none', ...new Set(settings.map(([mechanism = '']) => mechanism))].map((mechanism) => {
      const { code, out, err } = run(
        '--mechanism',
        mechanism,
        'experiments/vm/lua/programs/bench.lua',
        program,
        '1',
        '0.02',
      );
      t.equal(code, 0, err);
      return (JSON.parse(out) as { readonly answer: string }).answer;
    });
    t.equal(new Set(answers).size, 1, `${program}: ${answers.join(', ')}`);
  }
  t.end();
});

t.test('wrong usage is exit code 2, a failing script 1 with its traceback', { skip }, (t) => {
  t.equal(run().code, 2);
  t.equal(run('--mechanism', 'nonsense', 'x.lua').code, 2);
  const { code, err } = run('--mechanism', 'flag', 'no-such-script.lua');
  t.equal(code, 1);
  t.match(err, 'no-such-script.lua');
  t.end();
});
