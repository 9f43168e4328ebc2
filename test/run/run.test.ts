/**
 * Real runs through the command line: verdicts with their evidence, deaths compared, honest work, costs; the same
 * program here and in the emulated machine, where keys are tried too.
 *
 * lanes: native, emulated
 * limit: 240 s
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { kernelSince } from '../../src/experiment/index.js';
import type { CorruptionRecord, Run } from '../../src/record/records.js';
import { readRun } from '../../src/record/store.js';
import { ownFolder, turnkeyIn } from '../support/turnkey.js';

const folder = ownFolder();
const turnkey = turnkeyIn(folder);
const keys = turnkey(['probe']).code === 0;
/** JavaScript is some twenty times slower in the guest: what does not depend on keys is tried outside only. */
const outside = { skip: process.env['TURNKEY_LANE'] === 'emulated' ? 'the same outside' : false };
const corruptionOf = (run: Run): readonly CorruptionRecord[] =>
  run.records.filter((record) => record.kind === 'corruption');

t.test('a run here: verdicts with evidence, files named last, records that say what was skipped', (t) => {
  const { code, out, err } = turnkey([
    'run',
    'corruption',
    '--lane',
    'native',
    '--case',
    'wild-write',
    '--mechanisms',
    'none,flag,mprotect-range,pkeys',
    '--deny',
    'write',
    '--seed',
    '3',
    '--out',
    'wild',
  ]);
  t.equal(code, 0, err);
  t.same(
    out.trim().split('\n').slice(-5),
    ['run.json', 'limits.md', 'report.md', 'evidence.md', 'report.html'].map((name) => join(folder, 'wild', name)),
  );
  const run = readRun(join(folder, 'wild'));
  t.equal(run.context.seed, 3);
  const verdicts = new Map(corruptionOf(run).map((record) => [record.mechanism, record]));
  t.match(verdicts.get('none'), { verdict: 'damaged', announced: false, surprise: false });
  t.match(verdicts.get('flag'), { verdict: 'damaged', announced: false });
  t.match(verdicts.get('flag')?.evidence.diff, { ranges: [{ space: 'old', bytes: 8 }] });
  t.match(
    verdicts.get('flag')?.evidence.restored,
    { bytes: 4096, equal: true, heap: /^sound/ },
    'the snapshot came back',
  );
  t.notHas(verdicts.get('mprotect-range')?.evidence, { restored: {} });
  t.match(verdicts.get('mprotect-range'), {
    verdict: 'prevented',
    evidence: {
      missing: [],
      fault: {
        siCodeName: 'SEGV_ACCERR',
        access: 'write',
        space: 'old',
        symbol: 'foreign_write64',
        pcModule: 'build/Release/libturnkey_foreign.so',
      },
      diff: { changedBytes: 0 },
      process: { stage: 'finished', exitCode: 0 },
    },
  });
  if (keys) {
    const record = verdicts.get('pkeys');
    t.match(record, {
      verdict: 'prevented',
      lane: 'emulated',
      evidence: { missing: [], fault: { siCodeName: 'SEGV_PKUERR', space: 'old' }, diff: { changedBytes: 0 } },
    });
    t.equal(record?.evidence.fault?.pkey, record?.evidence.fault?.spaceKey, "the fault names the space's key");
  } else {
    t.match(
      run.records.find((record) => record.kind === 'skipped' && record.mechanism === 'pkeys'),
      { lane: 'native', reason: /PKU|protection keys/ },
    );
  }
  const expected = process.env['TURNKEY_LANE'] === 'emulated' ? 'emulated' : 'native';
  t.ok(
    run.records.every((record) => record.lane === expected),
    `everything is recorded as ${expected}`,
  );
  t.notMatch(
    readFileSync(join(folder, 'wild', 'run.json'), 'utf8'),
    fileURLToPath(new URL('../../../', import.meta.url)),
    "no path of this machine's project",
  );
  t.end();
});

t.test(
  'what sealing helps, where the kernel has it: mappings stay, their bytes can be written all the same',
  outside,
  (t) => {
    const { code } = turnkey([
      'run',
      'corruption',
      '--lane',
      'native',
      '--case',
      'sealed-unmap,sealed-discard,sealed-proc-self-mem',
      '--mechanisms',
      'flag,mprotect-range',
      '--out',
      'sealed',
    ]);
    t.equal(code, 0);
    const {
      records,
      context: { host },
    } = readRun(join(folder, 'sealed'));
    const of = (mechanism: string, name: string) =>
      records.find((record) =>
        record.kind === 'corruption'
          ? record.case === name && record.mechanism === mechanism
          : record.kind === 'skipped' && record.name === name && record.mechanism === mechanism,
      );
    if (!kernelSince(host.kernel, 6, 10)) {
      t.match(of('flag', 'sealed-unmap'), { kind: 'skipped', reason: /has no mseal/ });
      t.end();
      return;
    }
    t.match(of('flag', 'sealed-unmap'), {
      verdict: 'refused',
      surprise: false,
      evidence: { errno: 'EPERM', diff: { changedBytes: 0 } },
    });
    t.match(of('flag', 'sealed-discard'), {
      verdict: 'damaged',
      surprise: false,
      evidence: { restored: { equal: true } },
    });
    t.match(of('flag', 'sealed-proc-self-mem'), { verdict: 'damaged', surprise: false });
    t.match(of('mprotect-range', 'sealed-unmap'), { kind: 'skipped', reason: /mprotect cannot close/ });
    t.end();
  },
);

t.test('deaths are compared: a null pointer without a trap', outside, (t) => {
  const { code } = turnkey([
    'run',
    '--lane',
    'native',
    '--case',
    'null-pointer',
    '--mechanisms',
    'none,flag',
    '--out',
    'null',
  ]);
  t.equal(code, 0);
  const records = corruptionOf(readRun(join(folder, 'null')));
  t.match(
    records.find(({ mechanism }) => mechanism === 'none'),
    {
      verdict: 'crashed',
      evidence: {
        process: {
          signal: 'SIGSEGV',
          imageAtDeath: 'equal',
          lastSignal: { signal: 'SIGSEGV', siCode: 1, address: '0x0' },
        },
      },
    },
  );
  t.match(
    records.find(({ mechanism }) => mechanism === 'flag'),
    { verdict: 'trapped', evidence: { fault: { siCodeName: 'SEGV_MAPERR', space: null } } },
  );
  t.ok(records.find(({ mechanism }) => mechanism === 'flag')?.evidence.aftermath.every(({ ok }) => ok));
  t.end();
});

t.test('TURNKEY_STRICT=1 makes a skipped row a failure', outside, (t) => {
  const args = [
    'run',
    '--lane',
    'native',
    '--case',
    'null-pointer',
    '--mechanisms',
    'pkeys',
    '--deny',
    'write',
    '--out',
    'strict',
  ];
  t.equal(turnkey(args).code, 0);
  t.equal(turnkey(args, { TURNKEY_STRICT: '1' }).code, keys ? 0 : 3);
  t.ok(existsSync(join(folder, 'strict', 'run.json')), 'the results are written all the same');
  t.end();
});

t.test('the same seed gives the same damage', outside, (t) => {
  const damage = (out: string): unknown => {
    turnkey(['run', '--lane', 'native', '--case', 'wild-write', '--mechanisms', 'flag', '--seed', '11', '--out', out]);
    return corruptionOf(readRun(join(folder, out))).map(({ evidence }) => evidence.diff?.ranges);
  };
  t.same(damage('once'), damage('twice'));
  t.end();
});

t.test('honest work gives the same bytes', outside, (t) => {
  turnkey(['run', 'honest', '--lane', 'native', '--case', 'qsort', '--out', 'honest']);
  const honest = readRun(join(folder, 'honest')).records.filter((record) => record.kind === 'honest');
  t.equal(honest.length, keys ? 7 : 5);
  t.same(new Set(honest.map(({ sha256 }) => sha256)).size, 1);
  t.ok(
    honest.every(({ imageEqual, outcome }) => imageEqual === true && (outcome === 'same' || outcome === 'reference')),
  );
  t.end();
});

t.test('costs: times here, never in an emulated machine', (t) => {
  turnkey(['run', 'cost', '--lane', 'native', '--case', 'flip', '--quick', '--out', 'cost']);
  const { records } = readRun(join(folder, 'cost'));
  const costs = records.filter((record) => record.kind === 'cost');
  if (process.env['TURNKEY_LANE'] === 'emulated') {
    t.equal(costs.length, 0);
    t.match(records[0], { kind: 'skipped', reason: /times mean nothing/ });
  } else {
    t.ok(costs.length >= 4);
    t.ok(costs.every(({ unit, samples, median }) => unit === 'ns' && samples.length >= 3 && median > 0));
  }
  t.end();
});
