/**
 * lanes: native
 * Campaigns on Node itself: trials are forks of a guarded Node in the middle of a callout, which work on as Node.
 * Broken once: the program with src/callout's koffi, which no guard is around (stores into the heap came through under
 * mprotect); forget_waiters left out (the trial without a fault hung in its second collection).
 */
import t from 'tap';

import { nativeLane, programParts } from '../../src/campaign/lane.js';
import { makePlan, replay, trialsOf } from '../../src/campaign/run.js';
import { NODE, stratumOf } from '../../src/campaign/subjects.js';
import type { GuardMechanism } from '../../src/record/words.js';

const lane = nativeLane(NODE);
const closing: GuardMechanism = 'mprotect-range';
const COUNT = 20;

t.test("faults into V8's live heap: the same under every mechanism, and closed to the callee", async (t) => {
  const mechanisms: readonly GuardMechanism[] = ['none', closing];
  const plan = await makePlan(lane, { seed: 11, count: COUNT, mechanisms, planted: 0, until: null });
  const heap = plan.strata.find(({ name }) => name === 'v8-heap');
  t.ok((heap?.bytes ?? 0) > 4 << 20, `${heap?.bytes ?? 0} bytes of heap`);
  const open = await trialsOf(lane, plan, 'none', [[0, COUNT]]);
  const closed = await trialsOf(lane, plan, closing, [[0, COUNT]]);
  t.equal(open.length, COUNT);
  for (const [index, record] of open.entries()) {
    const { stratum, moment, means, bytes, address } = record;
    t.equal(stratum, NODE.strata[stratumOf(NODE, index)]);
    t.match(closed[index], { index, stratum, moment, means, bytes, address });
  }
  const intoHeap = open.filter(({ stratum }) => stratum === 'v8-heap');
  t.same(
    intoHeap.filter(({ image }) => image === 'equal'),
    [],
    'with nothing, each of them changes it',
  );
  const during = closed.filter(({ stratum, moment }) => stratum === 'v8-heap' && !['thread', 'after'].includes(moment));
  t.ok(during.length > 3);
  t.same(
    during.filter(({ image }) => image !== 'equal'),
    [],
    'closed, none does',
  );
  t.same(
    during.filter(({ verdict, end }) => !['prevented', 'refused'].includes(verdict ?? '') || end !== 'told'),
    [],
    'and Node is told, and goes on to the right answer',
  );
  const [first] = during;
  if (first !== undefined) t.same(await replay(lane, plan, first.index, closing), first, 'a fault replays alone');
});

t.test('what runs in a trial decides whether a campaign may go on', (t) => {
  const parts = programParts(NODE);
  for (const part of [
    'native/addon/trap_binding.cc',
    'native/host/call.c',
    'native/trap/gate_x86_64_sysv.S',
    'dist/src/campaign/node-program.js',
    'dist/src/register/intercept.js',
    'dist/src/callout/guard.js',
    'dist/src/addon.js',
  ])
    t.ok(parts.includes(part), part);
  t.notOk(
    parts.some((part) => part.includes('/report/') || part.endsWith('campaign/lane.js')),
    'and nothing that only plans and reports',
  );
  t.end();
});
