/**
 * The control experiment of every `prevented`: the same image with the same mechanism, but a gate that closes nothing.
 * What was prevented must then do its damage: else it was never the mechanism that prevented it.
 *
 * It takes up to three cases of each group, so that it is quick; TURNKEY_THOROUGH=1 takes all that can be prevented
 * natively.
 *
 * lanes: native
 * limit: 300 s
 */
import t, { type Test } from 'tap';

import { loadCatalogue } from '../../src/experiment/catalogue.js';
import type { CorruptionRecord } from '../../src/record/records.js';
import type { GuardMechanism } from '../../src/record/words.js';
import { EmulatedExecutor } from '../../src/run/emulated.js';
import type { Executor } from '../../src/run/executor.js';
import { NativeExecutor } from '../../src/run/native.js';
import type { PlannedCorruption } from '../../src/run/plan.js';
import { runTrials } from '../../src/run/trials.js';
import { noMachine } from '../support/turnkey.js';

const { corruption } = await loadCatalogue();

type Picked = readonly { readonly name: string; readonly experiment: (typeof corruption)[number]['experiment'] }[];

/**
 * The cases that a mechanism should prevent, made by Turnkey's own trial process: a VM with a command of its own has no
 * gate that closes nothing. A tenant with virtual keys is closed to others between callouts as well, so no gate opens
 * it. The control there is the shared key of the `lua-tenants` experiment.
 */
function preventable(mechanism: GuardMechanism, executor: Executor): Picked {
  const setting = {
    mechanism,
    lane: executor.lane,
    deny: 'write',
    keys: 'image',
    keysHere: executor.context.keys,
    kernel: executor.context.kernel,
  } as const;
  return corruption.filter(
    ({ experiment }) =>
      experiment.command === undefined &&
      experiment.group !== 'virtual keys' &&
      experiment.skip?.(setting) === undefined &&
      experiment.expected(setting).verdicts.join() === 'prevented',
  );
}

/** At most `most` of each group: a spread of what they do. */
function someOfEach(cases: Picked, most: number): Picked {
  const taken = new Map<string, number>();
  return cases.filter(({ experiment: { group } }) => {
    taken.set(group, (taken.get(group) ?? 0) + 1);
    return (taken.get(group) ?? 0) <= most;
  });
}

async function verdicts(
  executor: Executor,
  mechanism: GuardMechanism,
  cases: Picked,
  bareGate: boolean,
): Promise<readonly CorruptionRecord[]> {
  const trials = cases.map(({ name, experiment }): PlannedCorruption => ({
    kind: 'corruption',
    name,
    experiment,
    lane: executor.lane,
    mechanism,
    deny: 'write',
    keys: 'image',
    keysHere: executor.context.keys,
    seed: 17,
    repeat: 0,
    kernel: executor.context.kernel,
  }));
  const records = await runTrials(executor, trials, { bareGate });
  return records.filter((record) => record.kind === 'corruption');
}

/** Both halves: protected, and with the protection taken from the gate. Returns how many were damaged in the second. */
async function control(t: Test, executor: Executor, mechanism: GuardMechanism, cases: Picked): Promise<number> {
  const closed = await verdicts(executor, mechanism, cases, false);
  t.same(
    closed.map(({ case: name, verdict }) => `${name} ${verdict}`),
    cases.map(({ name }) => `${name} prevented`),
    `${mechanism}: all prevented`,
  );
  const open = await verdicts(executor, mechanism, cases, true);
  t.equal(open.length, cases.length, 'none is missing');
  for (const record of open) {
    const experiment = cases.find(({ name }) => name === record.case)?.experiment;
    // A gate that closes nothing but traps is what `flag` is.
    const expected =
      experiment?.expected({
        ...record,
        mechanism: 'flag',
        keys: 'image',
        keysHere: executor.context.keys,
        kernel: executor.context.kernel,
      }).verdicts ?? [];
    t.ok(
      expected.includes(record.verdict) || record.evidence.process.imageAtDeath === 'differs',
      `${record.case}: ${record.verdict} once the gate closes nothing`,
      { expected, because: record.evidence.because },
    );
    t.not(record.verdict, 'prevented');
  }
  return open.filter(({ verdict }) => verdict === 'damaged').length;
}

t.test('I10: a gate that closes nothing turns what mprotect prevented into damage', async (t) => {
  const executor = new NativeExecutor({
    lane: 'native',
    keys: false,
    keysReason: '',
    cpu: '',
    kernel: '',
    details: {},
  });
  const all = preventable('mprotect-range', executor);
  const cases = process.env['TURNKEY_THOROUGH'] === '1' ? all : someOfEach(all, 3);
  t.ok(cases.length >= 10, `${cases.length} cases of ${all.length}`);
  const damaged = await control(t, executor, 'mprotect-range', cases);
  t.ok(damaged >= cases.length / 2, `${damaged} of ${cases.length} damaged`);
});

const unavailable = (): string | false =>
  process.env['TURNKEY_NO_EMULATED'] === undefined ? noMachine() : 'TURNKEY_NO_EMULATED is set';

t.test('I10: a gate that closes nothing turns what keys prevented into damage', { skip: unavailable() }, async (t) => {
  const executor = await EmulatedExecutor.boot({ mode: 'behaviour' });
  t.teardown(() => executor.close());
  const names = ['wild-write', 'memcpy-heap', 'atomic-add', 'constructor'];
  const cases = preventable('pkeys', executor).filter(({ name }) => names.includes(name));
  t.equal(cases.length, names.length);
  t.equal(await control(t, executor, 'pkeys', cases), names.length, 'all damaged');
});
