/** Cost rows without any process: groups, command lines, and records from what came back. */
import t from 'tap';

import type { MeasuredExperiment, ProgramExperiment } from '../../src/experiment/case.js';
import { COST_MARK, type CostTrialSettings } from '../../src/experiment/protocol.js';
import { checkRun } from '../../src/record/schema.js';
import { benchRecords, measuredRecord } from '../../src/run/cost-records.js';
import { benchCommand, runCosts } from '../../src/run/costs.js';
import type { ExecResult, Executor } from '../../src/run/executor.js';
import { costGroups, makePlan, type PlannedCost } from '../../src/run/plan.js';
import { exampleFlip, exampleRun } from '../support/example-run.js';

/** What an experiment must say of itself. */
const description = { title: 'Sum', question: 'How much?', order: 1, shows: 'rows', parameters: {} } as const;

const setting = { lane: 'native', quick: false, keys: true, cores: 2 } as const;
const flips: readonly PlannedCost[] = exampleFlip
  .rows(setting)
  .map((row) => ({ name: 'flip', lane: 'native', experiment: exampleFlip, row }));

function result(stdout: string, more: Partial<ExecResult> = {}): ExecResult {
  return { exitCode: 0, signal: null, stdout, stderr: '', timedOut: false, lost: null, ...more };
}

t.test('the mechanisms of one variation are measured together, and told to turnkey-bench so', (t) => {
  t.same(
    costGroups(flips).map((group) => group.map(({ row }) => row.mechanism)),
    [
      ['pkeys', 'mprotect-range'],
      ['pkeys', 'mprotect-range'],
    ],
  );
  const words = benchCommand(costGroups(flips), 'native', { seed: 1, setting });
  t.same(words.slice(words.indexOf('flip:pkeys:pages=1')), [
    'flip:pkeys:pages=1',
    'flip:mprotect-range:pages=1',
    '/',
    'flip:pkeys:pages=2',
    'flip:mprotect-range:pages=2',
  ]);
  t.end();
});

t.test('lines of turnkey-bench are matched by number; the rest are rows that say why', (t) => {
  const emulated = flips.map((cost): PlannedCost => ({ ...cost, lane: 'emulated' }));
  const records = benchRecords(
    emulated.slice(0, 3),
    result(
      [
        '{"row":1,"skipped":"no memory"}',
        'noise',
        '{"row":0,"unit":"instructions","repeats":8,"samples":[22,24,23],' +
          '"counts":{"wrpkru":2,"rdpkru":2,"syscalls":0,"faults":0}}',
        '{"row":2,"un',
      ].join('\n'),
      { exitCode: null, signal: 'SIGKILL' },
    ),
  );
  t.match(records, [
    {
      kind: 'cost',
      experiment: 'flip',
      mechanism: 'pkeys',
      median: 23,
      unit: 'instructions',
      varied: { pages: 1 },
      found: { repeats: 8 },
      counts: { wrpkru: 2 },
      method: { group: 0, processes: 1 },
    },
    { kind: 'skipped', name: 'flip, pages 1', mechanism: 'mprotect-range', reason: 'no memory' },
    { kind: 'skipped', name: 'flip, pages 2', reason: /SIGKILL/, broken: true },
  ]);
  t.doesNotThrow(() => checkRun({ ...exampleRun, records }, 'made here'));
  t.end();
});

t.test(
  'rows that JavaScript measures: a process for each row and round, samples in the order of rounds, a ' +
    'failed round is no row',
  async (t) => {
    const experiment: MeasuredExperiment = {
      kind: 'cost',
      summary: 'sum',
      ...description,
      rounds: () => 3,
      measure: () => ({ samples: [1] }),
      rows: () =>
        (['none', 'flag', 'pkeys-model'] as const).map((mechanism) => ({
          mechanism,
          parameters: { signature: 'int(int)' },
          ...(mechanism === 'pkeys-model' ? { lane: 'model' as const } : {}),
        })),
    };
    const rows = makePlan(
      { corruption: [], honest: [], cost: [{ name: 'sum', experiment }] },
      {
        lanes: [
          { lane: 'native', keys: false, keysReason: 'no PKU', kernel: '' },
          { lane: 'emulated', keys: true, keysReason: null, kernel: '' },
        ],
        mechanisms: ['none', 'flag'],
        seed: 1,
        repeat: 1,
        quickCosts: false,
        cores: 2,
      },
    ).costs;
    t.same(
      rows.map(({ lane }) => lane),
      ['native', 'native', 'native'],
      'nothing from JavaScript is counted',
    );
    const asked: string[] = [];
    const executor: Executor = {
      lane: 'native',
      context: { lane: 'native', keys: false, keysReason: '', cpu: '', kernel: '', details: {} },
      concurrency: 1,
      slowness: 1,
      close: () => Promise.resolve(),
      run(argv) {
        const { row, round } = JSON.parse(argv.at(-1) ?? '') as CostTrialSettings;
        asked.push(`${round} ${row.mechanism}`);
        const said = { samples: [round, 10 + round], repeats: 5, warnings: [{ code: 'warm-up' }] };
        return Promise.resolve(result(`koffi says something\n${COST_MARK}${JSON.stringify(said)}\n`));
      },
    };
    const records = await runCosts(executor, rows, { setting, seed: 7, timeoutMs: 1000 });
    t.match(records, [
      {
        mechanism: 'none',
        lane: 'native',
        unit: 'ns',
        samples: [0, 10, 1, 11, 2, 12],
        varied: { signature: 'int(int)' },
        found: { repeats: 5 },
        warnings: [{ code: 'warm-up' }],
      },
      { mechanism: 'flag' },
      { mechanism: 'pkeys-model', lane: 'model' },
    ]);
    t.same(asked.map((one) => one[0]).join(''), '000111222');
    const orders = new Set(
      [0, 1, 2, 3, 4, 5].flatMap((at) =>
        asked.slice(3 * at, 3 * at + 3).length === 3
          ? [
              asked
                .slice(3 * at, 3 * at + 3)
                .map((one) => one.slice(2))
                .join(),
            ]
          : [],
      ),
    );
    t.equal(asked.length, 9);
    t.ok(orders.size > 1, 'the order is drawn anew in each round');
    const [first] = rows;
    if (first === undefined) return;
    t.match(
      measuredRecord(first, [
        result(`${COST_MARK}{"samples":[1]}`),
        result('', { exitCode: 1, stderr: 'Error: it broke' }),
      ]),
      { kind: 'skipped', broken: true, reason: /exit code 1.*it broke/ },
    );
    t.match(measuredRecord(first, [result(`${COST_MARK}{"skipped":"libpng16.so.16 is missing"}`)]), {
      kind: 'skipped',
      reason: 'libpng16.so.16 is missing',
    });
    t.match(measuredRecord(first, [result(`${COST_MARK}{"samples":[]}`)]), { kind: 'skipped', broken: true });
  },
);

t.test(
  'rows of a program: run as it stands in either lane, ns in one and instructions in the other, its last ' +
    'line is what counts',
  async (t) => {
    const experiment: ProgramExperiment = {
      kind: 'cost',
      summary: 'sum',
      ...description,
      rows: ({ lane }) =>
        (['none', 'pkeys'] as const).map((mechanism) => ({
          mechanism,
          parameters: { program: 'sum' },
          ...(lane === 'native' && mechanism === 'pkeys' ? { skip: 'later' } : {}),
        })),
      command: ({ mechanism }, { lane }) => ['build/sum', lane, mechanism],
    };
    const plan = makePlan(
      { corruption: [], honest: [], cost: [{ name: 'sum', experiment }] },
      {
        lanes: [
          { lane: 'native', keys: false, keysReason: 'no PKU', kernel: '' },
          { lane: 'emulated', keys: true, keysReason: null, kernel: '' },
        ],
        mechanisms: ['none', 'pkeys'],
        seed: 1,
        repeat: 1,
        quickCosts: false,
        cores: 2,
      },
    );
    t.same(
      plan.costs.map(({ lane, row }) => [lane, row.mechanism]),
      [
        ['native', 'none'],
        ['emulated', 'none'],
        ['emulated', 'pkeys'],
      ],
    );
    t.match(plan.skipped, [{ mechanism: 'pkeys', lane: 'native', reason: 'no PKU' }]);
    const ran = async (lane: 'native' | 'emulated', answers: (mechanism: string) => ExecResult) => {
      const asked: string[] = [];
      const executor: Executor = {
        lane,
        context: { lane, keys: true, keysReason: null, cpu: '', kernel: '', details: {} },
        concurrency: 1,
        slowness: 1,
        close: () => Promise.resolve(),
        run(argv) {
          asked.push(argv.join(' '));
          return Promise.resolve(answers(argv[2] ?? ''));
        },
      };
      return {
        asked,
        records: await runCosts(
          executor,
          plan.costs.filter((cost) => cost.lane === lane),
          { setting: { ...setting, lane }, seed: 7, timeoutMs: 1000 },
        ),
      };
    };
    const line =
      '{"samples":[7,9,8],"repeats":1,"warmUp":1,"found":{"callouts":3},"observed":{"faults":2},"answer":"5050"}';
    const native = await ran('native', () => result(`{"samples":[1]}\nnoise\n${line}\n`));
    t.same(
      native.asked,
      ['build/sum native none', 'build/sum native none', 'build/sum native none'],
      'a process for each round',
    );
    t.match(native.records, [
      {
        lane: 'native',
        unit: 'ns',
        samples: [7, 9, 8, 7, 9, 8, 7, 9, 8],
        varied: { program: 'sum' },
        found: { repeats: 1, callouts: 3 },
        observed: { faults: 6 },
        method: { processes: 3, group: 0, warmUp: 1 },
      },
    ]);
    const counted = await ran('emulated', () => result(line));
    t.equal(counted.asked.length, 2, 'counts need no rounds');
    t.match(counted.records, [
      { lane: 'emulated', mechanism: 'none', unit: 'instructions', samples: [7, 9, 8] },
      { lane: 'emulated', mechanism: 'pkeys', unit: 'instructions' },
    ]);
    t.doesNotThrow(() => checkRun({ ...exampleRun, records: [...native.records, ...counted.records] }, 'made here'));

    t.match(
      (await ran('emulated', (mechanism) => result(mechanism === 'none' ? line : line.replace('5050', '5051'))))
        .records[1],
      { kind: 'skipped', mechanism: 'pkeys', broken: true, reason: /answer was 5051, not 5050/ },
    );
    t.match(
      (await ran('emulated', (mechanism) => result(mechanism === 'none' ? line : line.replace(',"answer":"5050"', ''))))
        .records[1],
      { kind: 'skipped', broken: true, reason: /answer was none/ },
    );
    for (const bad of [
      result(line, { exitCode: 1, stderr: 'it broke' }),
      result(`${line}\nand more`),
      result('{"samples":[]}'),
      result('', { exitCode: null, timedOut: true }),
    ]) {
      t.match((await ran('emulated', () => bad)).records[0], {
        kind: 'skipped',
        broken: true,
        reason: /nothing was measured/,
      });
    }
  },
);
