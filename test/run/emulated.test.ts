/**
 * The emulated lane from outside: a guest is booted, trials run in it, instructions are counted in another. The
 * sentence of the whole project in small: keys prevent what the trap alone lets through, at a cost that does not grow
 * with the image.
 *
 * lanes: native
 * limit: 600 s
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { kernelSince } from '../../src/experiment/index.js';
import { readRun } from '../../src/record/store.js';
import { noMachine, ownFolder, turnkeyIn } from '../support/turnkey.js';

const folder = ownFolder();
const turnkey = turnkeyIn(folder);
const skip = noMachine();

t.test('I10: keys prevent in the guest what the trap alone lets through, with all of the evidence', { skip }, (t) => {
  const { code, err } = turnkey([
    'run',
    'corruption',
    '--lane',
    'emulated',
    '--case',
    'overflow,sealed-unmap',
    '--deny',
    'write',
    '--mechanisms',
    'none,flag,pkeys,pkeys-glibc',
    '--seed',
    '5',
    '--out',
    'overflow',
  ]);
  t.equal(code, 0, err);
  const run = readRun(join(folder, 'overflow'));
  t.match(run.context.lanes, [{ lane: 'emulated', keys: true, details: { conformance: /checks passed/ } }]);
  const records = new Map(
    run.records.flatMap((record) =>
      record.kind === 'corruption' && record.case === 'overflow' ? [[record.mechanism, record] as const] : [],
    ),
  );
  for (const mechanism of ['none', 'flag'] as const) {
    t.match(
      records.get(mechanism),
      { verdict: 'damaged', announced: false, evidence: { diff: { ranges: [{ space: 'eden', offset: 0 }] } } },
      mechanism,
    );
  }
  for (const mechanism of ['pkeys', 'pkeys-glibc'] as const) {
    const record = records.get(mechanism);
    t.match(
      record,
      {
        verdict: 'prevented',
        lane: 'emulated',
        surprise: false,
        evidence: {
          missing: [],
          fault: { siCodeName: 'SEGV_PKUERR', access: 'write', space: 'eden', symbol: 'foreign_overflow' },
          diff: { changedBytes: 0 },
        },
      },
      mechanism,
    );
    t.equal(record?.evidence.fault?.pkey, record?.evidence.fault?.spaceKey);
    t.not(record?.evidence.fault?.pkey, 0);
    t.ok(
      (record?.evidence.aftermath.length ?? 0) >= 8 && record?.evidence.aftermath.every(({ ok }) => ok),
      'all of the aftermath works',
    );
  }
  // What depends on the guest's kernel is decided when it is known, and told once.
  const sealed = run.records.filter(
    (record) =>
      (record.kind === 'corruption' ? record.case : record.kind === 'skipped' ? record.name : '') === 'sealed-unmap',
  );
  const kernel = run.context.lanes[0]?.kernel ?? '';
  t.equal(sealed.length, 4, 'one row for each mechanism');
  for (const record of sealed)
    t.match(
      record,
      kernelSince(kernel, 6, 10)
        ? { kind: 'corruption', verdict: 'refused' }
        : { kind: 'skipped', reason: `Linux ${kernel} has no mseal(2)` },
    );
  t.end();
});

t.test(
  'counted: a flip by keys costs the same instructions at every image size, one by mprotect does not',
  { skip },
  (t) => {
    const { code, err } = turnkey([
      'run',
      'cost',
      '--lane',
      'emulated',
      '--case',
      'flip',
      '--mechanisms',
      'mprotect-range,pkeys',
      '--quick',
      '--out',
      'flip',
    ]);
    t.equal(code, 0, err);
    const costs = readRun(join(folder, 'flip')).records.flatMap((record) => (record.kind === 'cost' ? [record] : []));
    t.ok(costs.length === 4 && costs.every(({ unit, lane }) => unit === 'instructions' && lane === 'emulated'));
    const least = (mechanism: string): readonly number[] =>
      costs
        .filter((record) => record.mechanism === mechanism)
        .sort((a, b) => Number(a.varied['imageBytes']) - Number(b.varied['imageBytes']))
        .map(({ samples }) => Math.round(Math.min(...samples)));
    const [small, large] = least('pkeys');
    t.equal(small, large);
    t.ok(small !== undefined && small > 4 && small < 100, `${String(small)} instructions`);
    const [few = 0, many = 0] = least('mprotect-range');
    t.ok(many > 10 * few, `${few} and ${many} instructions`);
    const [results = ''] = readFileSync(join(folder, 'flip', 'report.md'), 'utf8').split('## Environment');
    // named so where it stands
    const measured = results.replace(/\*\*\d+ to \d+ ns\*\* by published latencies \(a model: [^)]*\)/g, 'a model');
    t.notMatch(measured, /\d (ns|µs|ms)\b/, 'no times from the emulated lane');
    t.end();
  },
);
