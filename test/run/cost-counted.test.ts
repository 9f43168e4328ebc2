/**
 * Counted rows repeat: in user mode exactly, through the kernel within 2 %, with signals or split mappings within 6 %;
 * whole programs, the timer's interrupts among them, within 1 %. And keys, counted: the same at every image size, and
 * some instructions for each callout of a program in a real VM.
 *
 * lanes: native
 * limit: 600 s
 */
import t from 'tap';

import { loadCatalogue } from '../../src/experiment/catalogue.js';
import { luaIsBuilt } from '../../src/experiment/lua-host.js';
import type { CostRecord } from '../../src/record/records.js';
import { GUARD_MECHANISMS } from '../../src/record/words.js';
import { COUNT_TOLERANCE } from '../../src/report/compare.js';
import { runCosts } from '../../src/run/costs.js';
import { EmulatedExecutor } from '../../src/run/emulated.js';
import { makePlan, type PlannedCost } from '../../src/run/plan.js';
import { noMachine } from '../support/turnkey.js';

/** How far the counts of one whole program may differ. */
const PROGRAM_TOLERANCE = 0.01;

/** Chooses a few small rows of each experiment. */
function chosen({ name, row: { mechanism, parameters } }: PlannedCost): boolean {
  const pages = Number(parameters['imageBytes'] ?? 0) / 4096;
  if (name === 'flip') return (pages === 16 || pages === 256) && parameters['touched'] === true;
  if (name === 'callout') return pages === 16 || (pages === 256 && mechanism !== 'mprotect-page');
  if (name === 'fault') return pages === 16 && parameters['occurrence'] === undefined;
  if (name === 'alternatives') return parameters['bufferBytes'] === 0;
  if (name === 'lua-programs')
    return parameters['program'] === 'callouts-1000000' && (mechanism === 'none' || mechanism === 'pkeys');
  return name === 'gate' && parameters['arguments'] === 6;
}

t.test('counted twice in one guest', { skip: noMachine() }, async (t) => {
  const plan = makePlan(
    { ...(await loadCatalogue()), corruption: [], honest: [] },
    {
      lanes: [{ lane: 'emulated', keys: true, keysReason: null, kernel: '' }],
      mechanisms: GUARD_MECHANISMS,
      seed: 1,
      repeat: 1,
      quickCosts: false,
      cores: 1,
    },
  );
  const costs = plan.costs.filter(chosen);
  const executor = await EmulatedExecutor.boot({ mode: 'counting' });
  t.teardown(() => executor.close());
  const options = {
    setting: { lane: 'emulated', quick: false, keys: true, cores: 1 },
    seed: 1,
    timeoutMs: 240_000,
  } as const;
  const first = await runCosts(executor, costs, options);
  t.same(
    first.filter(({ kind }) => kind !== 'cost'),
    [],
    'every row was counted',
  );
  // the second time, long operations are not stepped through: their events are known from the code path
  const second = await runCosts(executor, costs, { ...options, setting: { ...options.setting, quick: true } });
  for (const [at, a] of first.entries()) {
    const b = second[at];
    if (a.kind === 'cost' && b?.kind === 'cost')
      t.same(
        b.counts,
        a.counts,
        `events as seen and as known from the code path: ${a.experiment}, ${a.mechanism}, ${JSON.stringify(a.varied)}`,
      );
  }
  const least = (record: CostRecord): number => Math.min(...record.samples);
  for (const [at, a] of first.entries()) {
    const b = second[at];
    if (a.kind !== 'cost' || b?.kind !== 'cost') continue;
    const name = `${a.experiment}, ${a.mechanism}, ${JSON.stringify(a.varied)}: ${least(a)} and ${least(b)}`;
    t.equal(a.unit, 'instructions');
    if (a.experiment === 'lua-programs') {
      t.ok(
        Math.abs(least(b) / least(a) - 1) <= PROGRAM_TOLERANCE &&
          Math.max(...a.samples) / least(a) - 1 <= PROGRAM_TOLERANCE,
        `within ${PROGRAM_TOLERANCE * 100} %: ${name}`,
      );
      continue;
    }
    const events = a.counts ?? { syscalls: 0, faults: 0 };
    if (events.syscalls === 0 && events.faults === 0)
      t.ok(Math.abs(least(a) - least(b)) < COUNT_TOLERANCE.userInstructions, `exactly: ${name}`);
    else {
      const tolerance =
        events.faults > 0 || a.mechanism === 'mprotect-page' || Number(a.varied['spaces'] ?? 1) > 1
          ? COUNT_TOLERANCE.signals
          : COUNT_TOLERANCE.kernel;
      t.ok(Math.abs(least(b) / least(a) - 1) <= tolerance, `within ${tolerance * 100} %: ${name}`);
    }
  }
  const of = (experiment: string, mechanism: string, pages: number): CostRecord | undefined =>
    first
      .flatMap((record) => (record.kind === 'cost' ? [record] : []))
      .find(
        (record) =>
          record.experiment === experiment &&
          record.mechanism === mechanism &&
          record.varied['imageBytes'] === pages * 4096 &&
          record.varied['spaces'] === undefined,
      );
  for (const experiment of ['flip', 'callout']) {
    const [small, large] = [of(experiment, 'pkeys', 16), of(experiment, 'pkeys', 256)];
    if (small === undefined || large === undefined) throw new Error(`no rows of ${experiment}`);
    t.equal(Math.round(least(small)), Math.round(least(large)), `${experiment} by keys does not depend on the image`);
    t.match(small.counts, { wrpkru: 2, rdpkru: 2, syscalls: 0, faults: 0 });
  }

  const lua = (mechanism: string): CostRecord | undefined =>
    first.flatMap((record) =>
      record.kind === 'cost' && record.experiment === 'lua-programs' && record.mechanism === mechanism ? [record] : [],
    )[0];
  const [unguarded, guarded] = [lua('none'), lua('pkeys')];
  if (unguarded === undefined || guarded === undefined) {
    t.notOk(luaIsBuilt(), 'the Lua rows are missing only where its host is');
    return;
  }
  t.equal(guarded.found['callouts'], unguarded.found['callouts']);
  const added = (least(guarded) - least(unguarded)) / Number(guarded.found['callouts']);
  t.ok(added > 10 && added < 200, `keys add a gate to each callout of a Lua program: ${added.toFixed(1)} instructions`);
});
