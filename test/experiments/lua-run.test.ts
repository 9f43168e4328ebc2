/**
 * A Lua program that a foreign function tries to ruin, in recorded runs: the wrong answer or a crash under the trap
 * alone, the right answer under mprotect, and under keys in a guest.
 *
 * lanes: native
 * limit: 300 s
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { LUA_PROGRAMS } from '../../experiments/support/lua.js';
import { loadCatalogue } from '../../src/experiment/catalogue.js';
import { LUA_MISSING, luaHost } from '../../src/experiment/lua-host.js';
import { BUILT, PROJECT_ROOT } from '../../src/record/paths.js';
import type { CorruptionRecord } from '../../src/record/records.js';
import { readRun } from '../../src/record/store.js';
import type { PlannedCorruption } from '../../src/run/plan.js';
import { corruptionRecord } from '../../src/run/trial-records.js';
import { noMachine, ownFolder, turnkeyIn } from '../support/turnkey.js';

const folder = ownFolder();
const turnkey = turnkeyIn(folder);

const skip = existsSync(luaHost()) ? false : LUA_MISSING;
/** Why nothing can be tried in a guest; false where it can. */
const unavailable = (): string | false => (skip === false ? noMachine() : skip);

type ByMechanism = ReadonlyMap<string, CorruptionRecord>;

/** One run of some cases, their records by mechanism, case by case. */
function corruptions(names: readonly string[], lane: string, mechanisms: string): readonly ByMechanism[] {
  const out = `${names.join('-')}-${lane}`;
  const { code, err } = turnkey([
    'run',
    'corruption',
    '--lane',
    lane,
    '--case',
    names.join(','),
    '--deny',
    'write',
    '--mechanisms',
    mechanisms,
    '--seed',
    '3',
    '--out',
    out,
  ]);
  t.equal(code, 0, err);
  const { records } = readRun(join(folder, out));
  return names.map(
    (name) =>
      new Map(
        records.flatMap((record) =>
          record.kind === 'corruption' && record.case === name ? [[record.mechanism, record] as const] : [],
        ),
      ),
  );
}

function corruption(name: string, lane: string, mechanisms: string): ByMechanism {
  return corruptions([name], lane, mechanisms)[0] ?? new Map<string, CorruptionRecord>();
}
const answer = (record: CorruptionRecord | undefined): string | undefined => record?.evidence.aftermath[0]?.detail;

for (const name of ['lua-string', 'lua-table', 'lua-upvalue']) {
  t.test(`${name}: a wrong answer under the trap alone, the right one where the heap is closed`, { skip }, (t) => {
    const records = corruption(name, 'native', 'none,flag,mprotect-range,mprotect-page');
    for (const mechanism of ['none', 'flag']) {
      t.match(records.get(mechanism), { verdict: 'damaged', announced: false, surprise: false }, mechanism);
      t.match(answer(records.get(mechanism)), /^wrong answer/, mechanism);
    }
    for (const mechanism of ['mprotect-range', 'mprotect-page']) {
      t.match(
        records.get(mechanism),
        {
          verdict: 'prevented',
          surprise: false,
          evidence: { missing: [], diff: { changedBytes: 0 }, fault: { space: 'heap' } },
        },
        mechanism,
      );
      t.match(answer(records.get(mechanism)), /^right answer/, mechanism);
    }
    t.end();
  });
}

for (const name of ['lua-prototype', 'lua-state']) {
  t.test(`${name}: the program dies under the trap alone, and finishes where the heap is closed`, { skip }, (t) => {
    const records = corruption(name, 'native', 'flag,mprotect-range');
    t.match(records.get('flag'), {
      verdict: 'crashed',
      surprise: false,
      evidence: { process: { imageAtDeath: 'differs' } },
    });
    t.match(records.get('mprotect-range'), { verdict: 'prevented', surprise: false });
    t.match(answer(records.get('mprotect-range')), /^right answer/);
    t.end();
  });
}

/** How many bystander faults a trial of lua-bystander tells of. */
const bystanders = (record: CorruptionRecord | undefined): number =>
  Number(/^bystander faults: (\d+),/.exec(record?.evidence.answer ?? '')?.[1] ?? NaN);

t.test(
  "lua-bystander: another state's callouts make a thread wait where mprotect closes its heap, and only there",
  { skip },
  (t) => {
    const records = corruption('lua-bystander', 'native', 'none,flag,mprotect-range,mprotect-page');
    for (const mechanism of ['none', 'flag']) {
      t.match(records.get(mechanism), { verdict: 'harmless', surprise: false }, mechanism);
      t.equal(bystanders(records.get(mechanism)), 0, mechanism);
    }
    for (const mechanism of ['mprotect-range', 'mprotect-page']) {
      t.match(records.get(mechanism), { verdict: 'harmless', surprise: false }, mechanism);
      t.ok(bystanders(records.get(mechanism)) > 0, mechanism);
    }
    t.end();
  },
);

t.test('lua-bystander, judged: a bystander that waits under keys is a surprise', { skip }, async (t) => {
  const { experiment } = (await loadCatalogue()).corruption.find(({ name }) => name === 'lua-bystander') ?? {};
  if (experiment === undefined) throw new Error('there is no lua-bystander');
  const trial: PlannedCorruption = {
    kind: 'corruption',
    name: 'lua-bystander',
    lane: 'native',
    mechanism: 'mprotect-range',
    deny: 'write',
    keys: 'image',
    keysHere: false,
    seed: 1,
    repeat: 0,
    kernel: '',
    experiment,
  };
  // The faults are real ones, of mprotect; only the script is told that it runs under keys.
  const script = join(folder, 'bystander.lua');
  for (const name of ['bystander.lua', 'trial.lua'])
    copyFileSync(join(PROJECT_ROOT, LUA_PROGRAMS, name), join(folder, name));
  writeFileSync(script, `turnkey.mechanism = 'pkeys'\n${readFileSync(script, 'utf8')}`);
  const command = [
    '--timeout-ms',
    '60000',
    '--set-up-ms',
    '60000',
    '--',
    luaHost(),
    '--mechanism',
    'mprotect-range',
    script,
  ];
  const { status, signal, stdout, stderr } = spawnSync(join(PROJECT_ROOT, BUILT.watch), command, {
    cwd: PROJECT_ROOT,
    encoding: 'utf8',
  });
  const record = corruptionRecord(trial, { exitCode: status, signal, stdout, stderr, timedOut: false, lost: null });
  t.match(record, {
    kind: 'corruption',
    verdict: 'host-damaged',
    surprise: true,
    evidence: { because: /bystander faults, though nothing is closed/ },
  });
  t.end();
});

t.test(
  'keys, in a guest: the program finishes with the right answer, and does not under the trap alone; no ' +
    'bystander waits, and under mprotect one does',
  { skip: unavailable() },
  (t) => {
    const [ruined, waiting] = corruptions(['lua-table', 'lua-bystander'], 'emulated', 'flag,mprotect-range,pkeys');
    t.match(ruined?.get('flag'), { verdict: 'damaged', lane: 'emulated' });
    t.match(answer(ruined?.get('flag')), /^wrong answer/);
    const kept = ruined?.get('pkeys');
    t.match(kept, {
      verdict: 'prevented',
      lane: 'emulated',
      surprise: false,
      evidence: { missing: [], fault: { siCodeName: 'SEGV_PKUERR', space: 'heap' } },
    });
    t.equal(kept?.evidence.fault?.pkey, kept?.evidence.fault?.spaceKey);
    t.match(answer(kept), /^right answer/);
    t.ok(
      kept?.evidence.aftermath.every(({ ok }) => ok),
      'all of the aftermath works',
    );
    for (const mechanism of ['flag', 'mprotect-range', 'pkeys'])
      t.match(waiting?.get(mechanism), { verdict: 'harmless', surprise: false, lane: 'emulated' }, mechanism);
    t.equal(bystanders(waiting?.get('pkeys')), 0);
    t.ok(bystanders(waiting?.get('mprotect-range')) > 0);
    t.end();
  },
);

t.test('turnkey vm lua runs a script, with its arguments and its exit code', { skip }, (t) => {
  const script = join(folder, 'script.lua');
  writeFileSync(script, 'print(turnkey.mechanism, turnkey.deny, ...)\nos.exit(7)\n');
  const { code, out, err } = turnkey(['vm', 'lua', script, '--mechanism', 'mprotect-range', '--', 'one', '-two']);
  t.equal(code, 7, err);
  t.equal(out, 'mprotect-range\twrite\tone\t-two\n');
  t.match(err, 'lane native');
  t.equal(turnkey(['vm', 'lua', 'nothing.lua', '--mechanism', 'flag']).code, 1);
  t.equal(turnkey(['vm', 'python', script]).code, 1);
  t.equal(turnkey(['vm', 'lua', script, '--mechanism', 'process']).code, 2);
  t.end();
});
