/**
 * Every cost experiment here, in small. Each gives records that the schema takes. A row did what it is named after, and
 * what does not close the image is not timed. No figure decides.
 *
 * lanes: native
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import t from 'tap';

import { probeKeys } from '../../src/cli/probe.js';
import type { CostSetting } from '../../src/experiment/case.js';
import { loadCatalogue } from '../../src/experiment/catalogue.js';
import type { CostTrialSettings } from '../../src/experiment/protocol.js';
import { BUILT, inProject, PROJECT_ROOT } from '../../src/record/paths.js';
import type { CostRecord, RunRecord } from '../../src/record/records.js';
import { checkRun } from '../../src/record/schema.js';
import { pairedRatios } from '../../src/record/statistics.js';
import { timingWarnings, type Warning } from '../../src/record/warnings.js';
import { GUARD_MECHANISMS } from '../../src/record/words.js';
import { warningText } from '../../src/report/findings/warnings.js';
import { benchClock, benchRecords, measuredRecord } from '../../src/run/cost-records.js';
import { benchArgument } from '../../src/run/costs.js';
import type { ExecResult } from '../../src/run/executor.js';
import { costGroups, makePlan, type PlannedCost } from '../../src/run/plan.js';
import { exampleRun } from '../support/example-run.js';

const keys = probeKeys().usable;
const MOST_PAGES = 1024;

function run(argv: readonly string[]): ExecResult {
  const [program = '', ...rest] = argv;
  const { status, signal, stdout, stderr } = spawnSync(
    program === 'node' ? process.execPath : inProject(program),
    rest,
    { encoding: 'utf8', cwd: PROJECT_ROOT },
  );
  return { exitCode: status, signal, stdout, stderr, timedOut: false, lost: null };
}

const SMALL = ['--processes', '2', '--rounds', '2', '--batch-us', '10', '--group-ms', '20'] as const;
const bench = (...rows: readonly string[]): ExecResult => run([BUILT.bench, ...SMALL, ...rows]);

/** The records of rows as one would type them; one group. */
function measured(...rows: readonly string[]): readonly RunRecord[] {
  return benchRecords(typed(rows), bench(...rows));
}
function typed(rows: readonly string[]): readonly PlannedCost[] {
  return rows.map((_, at) => ({
    name: 'typed',
    lane: 'native',
    experiment: {
      kind: 'cost',
      summary: '',
      title: '',
      question: '',
      order: 1,
      shows: 'rows',
      parameters: {},
      bench: '',
      rows: () => [],
    },
    row: { mechanism: 'none', parameters: { at } },
  }));
}
function costAt(records: readonly RunRecord[], at: number): CostRecord {
  const record = records[at];
  if (record?.kind !== 'cost') throw new Error(`row ${at} gave ${JSON.stringify(record)}`);
  return record;
}

t.test('every experiment of turnkey-bench, small images: records that the schema takes, nothing broken', async (t) => {
  const catalogue = await loadCatalogue();
  for (const { name, experiment } of catalogue.cost) {
    if (!('bench' in experiment)) continue;
    const plan = makePlan(
      { corruption: [], honest: [], cost: [{ name, experiment }] },
      {
        lanes: [{ lane: 'native', keys, keysReason: keys ? null : 'no keys here', kernel: '' }],
        mechanisms: GUARD_MECHANISMS,
        seed: 1,
        repeat: 1,
        quickCosts: false,
        cores: 2,
      },
    );
    const small = plan.costs.filter(
      ({ row }) =>
        (Number((row.options ?? row.parameters)['pages'] ?? 1) <= MOST_PAGES &&
          Number(row.parameters['ranges'] ?? 1) <= 1000) ||
        (name === 'revisit' && row.mechanism !== 'mprotect-page' && Number(row.parameters['touchedPages']) <= 16),
    );
    const groups = costGroups(small);
    const result = bench(...groups.flatMap((group, at) => [...(at === 0 ? [] : ['/']), ...group.map(benchArgument)]));
    t.equal(result.exitCode, 0, `${name}: ${result.stderr}`);
    t.ok((benchClock(result.stdout)?.overheadNs ?? 0) > 0, `${name}: the clock's own cost was measured`);
    const records = benchRecords(groups.flat(), result);
    t.ok(records.length > 5, name);
    t.same(
      records.filter((record) => record.kind === 'skipped' && record.broken === true),
      [],
      `${name}: nothing broke`,
    );
    t.doesNotThrow(() => checkRun({ ...exampleRun, records: [...records, ...plan.skipped] }, name));
    const timed = records.filter((record) => record.kind === 'cost');
    t.ok(timed.length > 4, `${name}: ${timed.length} rows`);
    t.ok(
      timed.every(
        ({ unit, samples }) => unit === 'ns' && samples.length >= 4 && samples.every((sample) => sample >= 0),
      ),
      `${name}: samples of every round`,
    );
  }
});

t.test(
  'every experiment that JavaScript measures and that belongs to faults: a process each, errors were caught',
  async (t) => {
    const { cost } = await loadCatalogue();
    const experiment = cost.find(({ name }) => name === 'fault-javascript')?.experiment;
    if (experiment === undefined || !('measure' in experiment)) throw new Error('there is no fault-javascript');
    const setting: CostSetting = { lane: 'native', quick: false, keys, cores: 2 };
    for (const row of experiment.rows(setting).filter(({ mechanism }) => keys || mechanism !== 'pkeys')) {
      const planned: PlannedCost = { name: 'fault-javascript', lane: 'native', experiment, row };
      const settings: CostTrialSettings = { row, round: 0, quick: false, seed: 1 };
      const record = measuredRecord(planned, [
        run(['node', '--expose-gc', BUILT.costTrial, 'fault-javascript', JSON.stringify(settings)]),
      ]);
      t.match(record, { kind: 'cost', unit: 'ns', mechanism: row.mechanism }, JSON.stringify(record));
      t.doesNotThrow(() => checkRun({ ...exampleRun, records: [record] }, 'made here'));
    }
  },
);

t.test(
  'a row did what it is named after: system calls, faults and rights writes seen by stepping through one operation',
  (t) => {
    const rows = [
      'flip:mprotect-range:pages=16',
      'flip:mprotect-range:pages=16,spaces=4',
      'flip:mprotect-page:pages=16',
      'callout:none:pages=4',
      'callout:flag:pages=4',
      'callout:mprotect-naive:pages=4',
      'gate:none:way=raw,arguments=6,pages=4',
      'gate:flag:way=gate,arguments=6,foreignStack=1,pages=4',
      'gate:none:way=sigsetjmp1,arguments=6,pages=4',
      'fault:flag:part=whole,pages=4',
      'fault:flag:part=gate,pages=4',
      'fault:mprotect-range:part=delivery,pages=4',
      'fault:mprotect-range:part=whole,pages=4',
    ];
    const records = measured(...rows);
    const events = records
      .map((_, at) => costAt(records, at).counts)
      .map((counts) => [counts?.syscalls, counts?.faults, counts?.wrpkru, counts?.rdpkru]);
    t.same(events.slice(0, 9), [
      [2, 0, 0, 0],
      [8, 0, 0, 0],
      [32, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [2, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [1, 0, 0, 0],
    ]);
    t.same(
      events.slice(9).map((one) => one[1]),
      [1, 0, 1, 1],
      'one fault where there is to be one',
    );
    const instructions = (at: number): number => costAt(records, at).observed?.['userInstructions'] ?? Number.NaN;
    const documented = Number(
      /^\| `flag` \| (\d+) \(\d+\)/m.exec(readFileSync(inProject('docs/gate.md'), 'utf8'))?.[1],
    );
    const known = benchRecords(typed(rows), run([BUILT.bench, ...SMALL, '--steps', '0', ...rows]));
    t.same(
      known.map((_, at) => costAt(known, at).counts),
      records.map((_, at) => costAt(records, at).counts),
      'what is known from the code path is what is seen',
    );
    t.equal(instructions(7) - instructions(6), documented, 'the gate without keys: the sum that docs/gate.md gives');
    t.ok(instructions(8) > instructions(6) && instructions(9) > instructions(10));
    t.end();
  },
);

t.test('what closes nothing is not timed', (t) => {
  const records = measured(
    'callout:mprotect-range:pages=4,bare=1',
    'callout:flag:pages=4,bare=1',
    'flip:flag:pages=4',
    'flip:mprotect-page:pages=1024,pageBytes=2097152',
    'callout:nonsense:pages=1',
    'nonsense:flag',
  );
  t.match(records, [
    { kind: 'skipped', reason: /not closed inside a callout/ },
    { kind: 'cost' },
    { kind: 'skipped', reason: /flips nothing/ },
    { kind: 'skipped', reason: /huge pages/ },
    { kind: 'skipped', reason: /no such mechanism/ },
    { kind: 'skipped', reason: /no such experiment/ },
  ]);
  t.end();
});

t.test('a first fault has a process for each sample; the rows of a group have a sample for each round', (t) => {
  const records = measured(
    'fault:flag:part=whole,pages=4,cold=1',
    'fault:flag:part=whole,pages=4',
    'fault:mprotect-page:part=whole,pages=64',
  );
  t.same(
    [0, 1, 2].map((at) => costAt(records, at).samples.length),
    [4, 4, 4],
  );
  t.same(
    [0, 1, 2].map((at) => costAt(records, at).method?.processes),
    [4, 2, 2],
  );
  t.end();
});

t.test('a row whose process dies is a broken row, and those beside it are measured', (t) => {
  // innocent threads that write the image die under mprotect-naive: nobody waits for it
  const records = measured(
    'threads:mprotect-naive:threads=1,work=write,pages=16,measure=others',
    'threads:none:threads=1,work=write,pages=16,measure=others',
  );
  t.match(records, [{ kind: 'skipped', broken: true, reason: /signal 11/ }, { kind: 'cost' }]);
  t.end();
});

t.test('threads: bystanders that write fault and wait under mprotect, and never without it', (t) => {
  const records = measured(
    'threads:none:threads=1,work=write,pages=16,measure=others',
    'threads:mprotect-range:threads=1,work=write,pages=16,measure=others',
    'threads:flag:threads=1,work=write,pages=16,measure=callouts',
  );
  const faults = [0, 1, 2].map((at) => costAt(records, at).observed?.['bystanderFaults'] ?? -1);
  t.equal(faults[0], 0);
  t.ok((faults[1] ?? 0) > 0, `${String(faults[1])} faults`);
  t.equal(faults[2], 0);
  t.ok([0, 1, 2].every((at) => (costAt(records, at).observed?.['callouts'] ?? 0) > 0));
  t.end();
});

t.test('without an invariant time-stamp counter there is CLOCK_MONOTONIC', (t) => {
  const { stdout } = run([BUILT.bench, ...SMALL, '--clock', 'monotonic', 'callout:none:pages=1']);
  t.match(benchClock(stdout), { name: 'CLOCK_MONOTONIC', nsPerTick: 1 });
  t.equal(run([BUILT.bench, '--rounds', '2']).exitCode, 2);
  t.end();
});

t.test('warnings are data with a remedy, and none where there is nothing to warn of', (t) => {
  const calm = {
    samples: [100, 101, 100, 99, 100, 100],
    timedOperations: 4000,
    clockOverheadNs: 20,
    settled: true,
    pinned: true,
    steal: 0,
    ghz: [4.2, 4.21],
    switches: 0,
  };
  t.same(timingWarnings(calm), []);
  const cases: readonly [Partial<typeof calm>, Warning, RegExp][] = [
    [{ samples: [100, 150, 60, 100, 140, 50] }, { code: 'noisy', over: 0.05 }, /over 5\.0 % of the median/],
    [{ timedOperations: 1 }, { code: 'coarse-clock', over: 0.02 }, /over 2\.0 % of what is timed at once/],
    [{ steal: 0.05 }, { code: 'steal', over: 0.01 }, /over 1\.0 % of this virtual machine's time/],
    [{ ghz: [4.2, 3.1] }, { code: 'frequency', over: 0.03 }, /frequency changed by over 3\.0 %/],
    [{ switches: 3 }, { code: 'put-aside', over: 0.25 }, /in 25 % of the batches/],
    [{ settled: false }, { code: 'unsettled' }, /still getting faster/],
    [{ pinned: false }, { code: 'unpinned' }, /could not be pinned/],
    [{ samples: [100, 100] }, { code: 'few-samples', samples: 2 }, /only 2 samples/],
  ];
  for (const [change, expected, words] of cases) {
    t.same(timingWarnings({ ...calm, ...change }), [expected]);
    const { text, remedy } = warningText(expected);
    t.match(text, words);
    t.not(remedy, '', 'with a remedy');
  }
  t.end();
});

t.test('ratios are formed within rounds: what slows a whole round down falls out', (t) => {
  t.same(pairedRatios([20, 200, 22], [10, 100, 11]), [2, 2, 2]);
  t.same(pairedRatios([20, 30], [10]), [2]);
  t.same(pairedRatios([20, 30], [0, 10]), [3]);
  t.end();
});
