/**
 * lanes: native, emulated
 * with: native/campaign, native/image, native/pkeys, native/trap
 * Campaigns end to end: faults that repeat, shards that merge, a campaign that goes on after a kill, and a planted
 * hole that the figures find.
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { drawPosition } from '../../src/campaign/draw.js';
import { nativeLane } from '../../src/campaign/lane.js';
import { merge, settled } from '../../src/campaign/merge.js';
import { makePlan, planFor, replay, runTrials, shardRange, trialsOf } from '../../src/campaign/run.js';
import { rate } from '../../src/campaign/statistics.js';
import { eachRecord, readPlan, RECORDS_FILE, writePlan } from '../../src/campaign/store.js';
import { IMAGE_STRATA, type Plan, STRATA, type TrialRecord } from '../../src/campaign/words.js';
import type { GuardMechanism } from '../../src/record/words.js';

const folder = mkdtempSync(join(tmpdir(), 'turnkey-campaign-'));
t.teardown(() => {
  rmSync(folder, { recursive: true });
});
const isGuest = process.env['TURNKEY_LANE'] === 'emulated';
/** A guest runs the same program: to it, the lane is its own. */
const lane = { ...nativeLane(), ...(isGuest ? { limitMs: 6000 } : {}) };
const closing: GuardMechanism = isGuest ? 'pkeys' : 'mprotect-range';
const COUNT = STRATA.length * (isGuest ? 2 : 6);
const options = {
  seed: 11,
  count: COUNT,
  mechanisms: ['none', closing] as readonly GuardMechanism[],
  planted: 0,
  until: null,
};

function recordsOf(directory: string): readonly TrialRecord[] {
  const records: TrialRecord[] = [];
  eachRecord(directory, (record) => records.push(record));
  return records;
}
const linesOf = (directory: string): readonly string[] => {
  const lines: string[] = [];
  eachRecord(directory, (_, line) => lines.push(settled(line)));
  return lines.sort();
};

t.test('shards, one of them killed and begun again, merge into what one process records', async (t) => {
  const whole = join(folder, 'whole');
  const plan = await planFor(whole, lane, options);
  await runTrials(lane, plan, whole, [0, COUNT]);
  const shards = [1, 2].map((part) => join(folder, `shard-${part}`));
  for (const [at, shard] of shards.entries()) {
    const own = await planFor(shard, lane, options);
    await runTrials(lane, own, shard, shardRange(COUNT, at + 1, 2));
  }
  // a kill in the middle of a line: the line is torn, the one before is gone too
  const [first = ''] = shards;
  const records = join(first, RECORDS_FILE);
  const text = readFileSync(records, 'utf8').split('\n');
  writeFileSync(records, `${text.slice(0, -3).join('\n')}\n${text.at(-3)?.slice(0, 40) ?? ''}`);
  const before = merge(shards, join(folder, 'gaps'));
  t.ok(before.gaps.length > 0, before.gaps.join('; '));
  await runTrials(lane, readPlan(first), first, shardRange(COUNT, 1, 2));
  const merged = merge(shards, join(folder, 'merged'));
  t.same(merged.gaps, []);
  t.equal(merged.doubles, 0);
  t.same(linesOf(join(folder, 'merged')), linesOf(whole), 'equal record by record, but for times');
});

t.test('merge counts what is there twice, and refuses a stranger', async (t) => {
  const whole = join(folder, 'whole');
  const twice = merge([whole, join(folder, 'shard-2')], join(folder, 'twice'));
  t.ok(twice.doubles > 0);
  t.same(twice.differing, []);
  const stranger = join(folder, 'stranger');
  const plan: Plan = { ...readPlan(whole), kernel: 'another' };
  writePlan(stranger, plan);
  appendFileSync(join(stranger, RECORDS_FILE), '');
  t.throws(() => merge([whole, stranger], join(folder, 'no')), /no shard of the campaign.*: kernel differ/);
  await t.rejects(planFor(whole, lane, { ...options, seed: 12 }), /another campaign: seed/);
  await t.rejects(planFor(whole, lane, { ...options, count: COUNT - 1 }), /another campaign: count/);
  const released = join(folder, 'released');
  writePlan(released, { ...readPlan(whole), version: '0.0.0', commit: null });
  t.match(await planFor(released, lane, options), { version: '0.0.0', commit: null }, 'a release alone is no other');
  const shard = join(folder, 'shard-2');
  t.equal((await planFor(shard, lane, { ...options, count: COUNT + 1 })).count, COUNT + 1, 'more faults go on');
  t.match(await planFor(shard, lane, { ...options, count: COUNT + 1 }), readPlan(shard), 'and are in the plan');
});

t.test(
  'a fault replays alone; TypeScript draws the byte that C hits; every mechanism meets the same store',
  async (t) => {
    const plan = readPlan(join(folder, 'whole'));
    const records = recordsOf(join(folder, 'whole'));
    for (const index of [2, 5]) {
      const record = records.find((one) => one.index === index && one.mechanism === closing);
      const again = await replay(lane, plan, index, closing);
      t.same({ ...again, diedNs: 0 }, { ...record, diedNs: 0 });
    }
    const old = plan.strata.find(({ name }) => name === 'old');
    const [from = ''] = old?.ranges.split('-') ?? [];
    const hit = records.find(({ stratum }) => stratum === 'old');
    t.equal(
      BigInt(hit?.address ?? 0) - BigInt(`0x${from}`),
      BigInt(drawPosition(plan.seed, hit?.index ?? 0, old?.bytes ?? 0)),
    );
    for (const { index, address, bytes } of records.filter(({ mechanism }) => mechanism === 'none'))
      if (!['overrun', 'left-behind'].includes(STRATA[index % STRATA.length] ?? '')) {
        const other = records.find((one) => one.index === index && one.mechanism === closing);
        t.same([other?.address, other?.bytes], [address, bytes], `fault ${index}`);
      }
  },
);

t.test(
  'under keys, no store into the image changes it; with nothing, stores do',
  { skip: isGuest ? false : 'keys are tried in the guest' },
  (t) => {
    const image = recordsOf(join(folder, 'whole')).filter(({ stratum }) => IMAGE_STRATA.includes(stratum));
    t.same(
      image.filter((record) => record.mechanism === 'pkeys' && record.image !== 'equal'),
      [],
    );
    t.ok(image.some((record) => record.mechanism === 'none' && record.image === 'differs'));
    t.end();
  },
);

t.test('a planted gate that opens every fourth callout is found out: its share lies in the interval', async (t) => {
  const rounds = isGuest ? 12 : 40;
  const planted = { ...options, seed: 5, count: rounds * STRATA.length, mechanisms: [closing], planted: 4 };
  const plan = await makePlan(lane, planted);
  const ranges = Array.from({ length: rounds }, (_, round): readonly [number, number] => [
    round * STRATA.length,
    round * STRATA.length + IMAGE_STRATA.length,
  ]);
  // moments at which every mechanism closes the image; a store that a thread makes later is another matter
  const during = (await trialsOf(lane, plan, closing, ranges)).filter(
    ({ moment }) => !['after', 'thread'].includes(moment),
  );
  const open = during.filter(({ image }) => image === 'differs').length;
  const { low, high } = rate(open, during.length);
  t.ok(low < 0.25 && 0.25 < high, `${open} of ${during.length}: ${low.toFixed(3)} to ${high.toFixed(3)}`);
  t.ok(low > 0.05, 'and none at all is ruled out');
  t.same(
    during.filter(({ image, index }) => (image === 'differs') !== (Math.floor(index / STRATA.length) % 4 === 0)),
    during.filter(({ image, index }) => image === 'equal' && Math.floor(index / STRATA.length) % 4 === 0),
    'no fault but a planted one comes through',
  );
});
