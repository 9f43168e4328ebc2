/** The runner's pure parts: reading what a trial printed, records from it, repetitions, honest bytes, the plan. */
import t from 'tap';

import type { GroupedCase, HonestCase } from '../../src/experiment/case.js';
import type { Catalogue } from '../../src/experiment/catalogue.js';
import { expectStore } from '../../src/experiment/index.js';
import { parseOutput } from '../../src/experiment/protocol.js';
import type { CorruptionRecord } from '../../src/record/records.js';
import type { ExecResult } from '../../src/run/executor.js';
import { deriveSeed, makePlan, type PlannedCorruption, type PlannedHonest } from '../../src/run/plan.js';
import { compareHonest, corruptionRecord, honestRecord, joinRepetitions } from '../../src/run/trial-records.js';
import { groupTrials, inParallel, runTrials, trialCommand } from '../../src/run/trials.js';
import { exampleCorruption, exampleFlip, exampleHonest } from '../support/example-run.js';

const experiment: GroupedCase = {
  kind: 'corruption',
  group: 'stray writes',
  summary: 'a store',
  expected: (setting) => expectStore(setting),
  run: () => undefined,
};
const honest: HonestCase = { kind: 'honest', summary: 'work', libraries: [], run: () => undefined };
const catalogue: Catalogue = {
  corruption: [
    { name: 'store', experiment },
    {
      name: 'odd',
      experiment: { ...experiment, skip: ({ mechanism }) => (mechanism === 'none' ? 'makes no sense' : undefined) },
    },
  ],
  honest: [{ name: 'work', experiment: honest }],
  cost: [{ name: 'flip', experiment: exampleFlip }],
};
const trial: PlannedCorruption = {
  kind: 'corruption',
  name: 'store',
  lane: 'native',
  mechanism: 'pkeys',
  deny: 'write',
  keys: 'image',
  keysHere: true,
  seed: 1,
  repeat: 0,
  kernel: '6.1',
  experiment,
};
const honestTrial: PlannedHonest = { ...trial, kind: 'honest', name: 'work', experiment: honest };

const result = (lines: readonly string[], more: Partial<ExecResult> = {}): ExecResult => ({
  exitCode: 0,
  signal: null,
  stdout: lines.join('\n'),
  stderr: '',
  timedOut: false,
  lost: null,
  ...more,
});
const setUp =
  '@trial {"stage":"set ' +
  'up","vmModules":["/usr/bin/node"],"spaces":[{"name":"old","address":"0x1000","bytes":4096,"key":3}]}';
const called = `@trial ${JSON.stringify({
  stage: 'called',
  inapplicable: null,
  fault: { ...exampleCorruption.evidence.fault },
  answer: null,
  errno: null,
  disclosed: false,
  notes: [],
})}`;
const finished =
  '@trial {"stage":"finished","aftermath":[{"step":"gc","ok":true,"detail":""}],' +
  '"diff":{"changedBytes":0,"ranges":[],"heap":null},"canaries":[]}';
const ended =
  '@watch {"exitCode":0,"signal":null,"timedOut":false,"done":true,"spaces":1,' +
  '"imageAtDeath":"unknown","changedBytes":0}';
const died =
  '@watch {"exitCode":null,"signal":"SIGSEGV","timedOut":false,"done":false,"spaces":1,"imageAtDeath":"differs",' +
  '"changedBytes":8,"firstSpaceAddress":"0x1000","firstOffset":16,' +
  '"lastSignal":{"signal":"SIGSEGV","siCode":1,"address":"0x0","pc":"0x10","mainThread":true}}';
const late =
  '@watch {"exitCode":null,"signal":"SIGKILL","timedOut":true,"done":false,"spaces":1,' +
  '"imageAtDeath":"equal","changedBytes":0}';

t.test('foreign output between the lines is ignored, a cut line too', (t) => {
  const output = parseOutput(['rubbish @trial {', setUp, '@trial {"stage":"cal', 'more', ended].join('\n'));
  t.not(output.setUp, null);
  t.equal(output.called, null);
  t.equal(output.watch?.exitCode, 0);
  t.end();
});

t.test('a whole trial becomes a record with its verdict', (t) => {
  t.match(corruptionRecord(trial, result([setUp, called, finished, ended])), {
    kind: 'corruption',
    verdict: 'prevented',
    surprise: false,
    repetitions: ['prevented'],
  });
  t.match(corruptionRecord({ ...trial, mechanism: 'flag' }, result([setUp, called, finished, ended])), {
    verdict: 'trapped',
    surprise: true,
  });
  t.end();
});

t.test('a death, a hang and a death after the last word are told apart', (t) => {
  t.match(corruptionRecord(trial, result([setUp, died])), {
    verdict: 'crashed',
    evidence: {
      process: {
        signal: 'SIGSEGV',
        stage: 'set up',
        firstChangeAtDeath: { space: 'old', offset: 16 },
        changedBytesAtDeath: 8,
      },
    },
  });
  t.match(corruptionRecord(trial, result([setUp, late])), { verdict: 'hung' });
  t.match(corruptionRecord(trial, result([setUp, called, late])), {
    verdict: 'hung',
    evidence: { fault: { signal: 'SIGSEGV' } },
  });
  t.match(
    corruptionRecord(trial, result([setUp, called, finished, died])),
    { verdict: 'crashed' },
    'a process that dies while it exits has not come through',
  );
  t.end();
});

t.test('what says nothing about the case is a row that says so', (t) => {
  const rows: readonly [ExecResult, RegExp][] = [
    [result([], { lost: 'the guest was lost twice' }), /lane broke down: the guest was lost twice/],
    [result(['@trial {"stage":"failed","reason":"no key is left"}', ended]), /could not be set up: no key is left/],
    [result([], { timedOut: true }), /did not come back/],
    [
      result([], { exitCode: 125, stderr: 'ptrace: not permitted' }),
      /no report from the tracing runner \(exit code 125\): ptrace: not permitted/,
    ],
    [result([late]), /not ready for its callout/],
    [result([died], { stderr: 'SyntaxError' }), /died before it was set up \(SIGSEGV\): SyntaxError/],
  ];
  for (const [given, reason] of rows)
    t.match(corruptionRecord(trial, given), { kind: 'skipped', broken: true, reason });
  t.end();
});

t.test('repetitions are joined; different verdicts are unstable', (t) => {
  const other: CorruptionRecord = {
    ...exampleCorruption,
    verdict: 'damaged',
    repetitions: ['damaged'],
    surprise: true,
  };
  t.match(joinRepetitions([exampleCorruption, exampleCorruption]), [
    { verdict: 'prevented', unstable: false, repetitions: ['prevented', 'prevented'] },
  ]);
  t.match(joinRepetitions([exampleCorruption, other]), [
    { verdict: 'prevented', unstable: true, surprise: true, repetitions: ['prevented', 'damaged'] },
  ]);
  t.equal(joinRepetitions([exampleCorruption, { ...exampleCorruption, lane: 'native' }]).length, 2);
  t.end();
});

t.test('honest bytes are compared over mechanisms and lanes', (t) => {
  const work = { stage: 'honest', case: 'work', sha256: 'a'.repeat(64), bytes: 10, callouts: 2, imageEqual: true };
  const line = `@trial ${JSON.stringify(work)}`;
  const good = honestRecord(honestTrial, result([setUp, line, ended]));
  t.match(good, { kind: 'honest', outcome: 'same', sha256: 'a'.repeat(64) });
  t.match(honestRecord(honestTrial, result(['@trial {"stage":"failed","reason":"not sorted"}', ended])), {
    outcome: 'failed',
    detail: 'not sorted',
  });
  t.match(honestRecord(honestTrial, result([setUp, died])), { outcome: 'failed', detail: /SIGSEGV/ });
  t.match(
    honestRecord({ ...honestTrial, name: 'other' }, result([setUp, line, ended])),
    { outcome: 'failed' },
    "another case's bytes are not its own",
  );
  const none = { ...exampleHonest, mechanism: 'none' as const };
  t.match(
    compareHonest([
      none,
      { ...none, mechanism: 'pkeys', lane: 'emulated' },
      { ...none, mechanism: 'flag', sha256: 'b'.repeat(64) },
    ]),
    [{ outcome: 'reference' }, { outcome: 'same' }, { outcome: 'differs', detail: /none in the native lane/ }],
  );
  t.end();
});

t.test('the plan: cells that cannot be had are rows with reasons', (t) => {
  const options = { mechanisms: ['none', 'pkeys'] as const, seed: 5, repeat: 2, quickCosts: false, cores: 2 };
  const native = makePlan(catalogue, {
    ...options,
    lanes: [{ lane: 'native', keys: false, keysReason: 'no PKU', kernel: '6.1' }],
  });
  t.same(
    native.trials.map(({ kind, name, mechanism, repeat }) => [kind, name, mechanism, repeat]),
    [
      ['corruption', 'store', 'none', 0],
      ['corruption', 'store', 'none', 1],
      ['honest', 'work', 'none', 0],
    ],
  );
  t.same(
    native.skipped.map(({ of, name, mechanism, reason }) => [of, name, mechanism, reason]),
    [
      ['corruption', 'odd', 'none', 'makes no sense'],
      ['corruption', 'store', 'pkeys', 'no PKU'],
      ['corruption', 'odd', 'pkeys', 'no PKU'],
      ['honest', 'work', 'pkeys', 'no PKU'],
      ['cost', 'flip', 'pkeys', 'no PKU'],
    ],
  );
  const emulated = makePlan(catalogue, {
    ...options,
    lanes: [{ lane: 'emulated', keys: true, keysReason: null, kernel: '6.1' }],
  });
  t.same(
    emulated.costs.map(({ row }) => [row.mechanism, row.parameters]),
    [
      ['pkeys', { pages: 1 }],
      ['pkeys', { pages: 2 }],
    ],
  );
  t.equal(
    emulated.trials.find(({ name, mechanism }) => name === 'store' && mechanism === 'pkeys')?.seed,
    native.trials.find(({ name }) => name === 'store')?.seed,
    'every mechanism and lane meets the same damage',
  );
  t.not(deriveSeed(5, 'a'), deriveSeed(6, 'a'));
  t.end();
});

t.test('the command of a trial', (t) => {
  t.same(trialCommand(trial, 3000, 9000).slice(0, 11), [
    'build/Release/turnkey-watch',
    '--timeout-ms',
    '3000',
    '--set-up-ms',
    '9000',
    '--',
    'node',
    '--expose-gc',
    'dist/trial/launch.cjs',
    'corruption',
    'store',
  ]);
  t.end();
});

t.test(
  'honest work of one mechanism shares a process, corruption never; when one goes wrong each is tried alone',
  async (t) => {
    const other: PlannedHonest = { ...honestTrial, name: 'other' };
    t.same(
      groupTrials([trial, honestTrial, trial, other, { ...other, mechanism: 'flag' }]).map((group) =>
        group.map(({ name, mechanism }) => `${name} ${mechanism}`),
      ),
      [['store pkeys'], ['work pkeys', 'other pkeys'], ['store pkeys'], ['other flag']],
    );
    const asked: string[] = [];
    const line = (name: string): string =>
      `@trial ${JSON.stringify({
        stage: 'honest',
        case: name,
        sha256: 'a'.repeat(64),
        bytes: 1,
        callouts: 1,
        imageEqual: true,
      })}`;
    const records = await runTrials(
      {
        lane: 'native',
        context: { lane: 'native', keys: false, keysReason: '', cpu: '', kernel: '', details: {} },
        concurrency: 1,
        slowness: 1,
        close: () => Promise.resolve(),
        run(argv) {
          const names = argv[10] ?? '';
          asked.push(names);
          return Promise.resolve(names === 'other' ? result([setUp, line('other'), ended]) : result([setUp, died]));
        },
      },
      [honestTrial, other],
    );
    t.same(asked, ['work,other', 'work', 'other']);
    t.match(records, [
      { case: 'work', outcome: 'failed' },
      { case: 'other', outcome: 'same' },
    ]);
  },
);

t.test('work in parallel keeps its order and its limit', async (t) => {
  let running = 0;
  let most = 0;
  const results = await inParallel([5, 1, 3, 2, 4], 2, async (n) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => {
      setTimeout(resolve, n);
    });
    running--;
    return n * 10;
  });
  t.same(results, [50, 10, 30, 20, 40]);
  t.equal(most, 2);
});
