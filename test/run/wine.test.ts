/**
 * The Wine lane: a lane whose trials a program of its own makes, by the same plan and the same records as every other.
 * Broken once: repetitions of such a lane sent to a warm host; runTrials then asked it to run node.
 *
 * lanes: native
 */
import { existsSync } from 'node:fs';

import t from 'tap';

import { loadCorruption } from '../../src/experiment/catalogue.js';
import { inProject } from '../../src/record/paths.js';
import type { CorruptionRecord } from '../../src/record/records.js';
import { readRun } from '../../src/record/store.js';
import type { ExecResult, Executor } from '../../src/run/executor.js';
import type { PlannedCorruption } from '../../src/run/plan.js';
import { runTrials } from '../../src/run/trials.js';
import { ownFolder, turnkeyIn } from '../support/turnkey.js';

const context = { lane: 'wine', keys: false, keysReason: 'none there', cpu: '', kernel: '', details: {} } as const;
const WATCH = {
  exitCode: 0,
  signal: null,
  timedOut: false,
  done: true,
  spaces: 0,
  imageAtDeath: 'unknown',
  changedBytes: 0,
};
const ANSWER: ExecResult = {
  exitCode: 0,
  signal: null,
  stdout: [
    '@trial {"stage":"set up","vmModules":[],"spaces":[]}',
    '@trial {"stage":"called","inapplicable":null,"fault":null,"answer":null,"errno":null,"disclosed":false,' +
      '"notes":[]}',
    '@trial {"stage":"finished","aftermath":[],"diff":{"changedBytes":8,"ranges":[],"heap":null},"canaries":[]}',
    `@watch ${JSON.stringify(WATCH)}`,
  ].join('\n'),
  stderr: '',
  timedOut: false,
  lost: null,
};

t.test('a lane with a program of its own: that program alone is run, for each repetition', async (t) => {
  const experiment = await loadCorruption('wild-write');
  const commands: (readonly string[])[] = [];
  const executor: Executor = {
    lane: 'wine',
    context,
    concurrency: 1,
    slowness: 1,
    trialCommand: ({ name, mechanism }) => ['trial.exe', name, mechanism],
    run(argv) {
      commands.push(argv);
      return Promise.resolve(ANSWER);
    },
    close: () => Promise.resolve(),
  };
  const repeats = 24; // enough for a calibration and for warm hosts elsewhere
  const trials = Array.from({ length: repeats }, (_, repeat): PlannedCorruption => ({
    kind: 'corruption',
    name: 'wild-write',
    lane: 'wine',
    mechanism: 'flag',
    deny: 'write',
    keys: 'image',
    keysHere: false,
    seed: 1,
    repeat,
    kernel: '',
    experiment,
  }));
  const [record, ...more] = (await runTrials(executor, trials)) as readonly CorruptionRecord[];
  t.same(more, []);
  t.same(record?.repetitions, Array(repeats).fill('damaged'));
  t.same(commands, Array(repeats).fill(['trial.exe', 'wild-write', 'flag']));
});

const built = existsSync(inProject('build-win/matrix/turnkey-trial.exe'));

t.test('turnkey run --lane wine without its program: one line that says what to do', { skip: built }, (t) => {
  const { code, err } = turnkeyIn(ownFolder())(['run', 'corruption', '--case', 'wild-write', '--lane', 'wine']);
  t.equal(code, 4);
  t.match(err, /turnkey-trial\.exe was not built: npm run matrix:windows/);
  t.end();
});

const skip = built ? false : 'the Windows program is not built (npm run matrix:windows)';

t.test('what Wine does: prevented by pages, damaged without, no keys to be had', { skip }, (t) => {
  const folder = ownFolder();
  const argv = 'run corruption --case wild-write,exit-now --lane wine --mechanisms none,mprotect-range,pkeys --out out';
  const { code, err } = turnkeyIn(folder)(argv.split(' '));
  t.equal(code, 0, err);
  const run = readRun(`${folder}/out`);
  const { records } = run;
  t.same(
    records.map((record) =>
      record.kind === 'corruption'
        ? [record.case, record.mechanism, record.verdict, record.surprise, record.evidence.process.exitCode]
        : record.kind,
    ),
    [
      'skipped',
      'skipped',
      ['exit-now', 'none', 'crashed', false, 3],
      ['wild-write', 'none', 'damaged', false, 0],
      ['exit-now', 'mprotect-range', 'crashed', false, 3],
      ['wild-write', 'mprotect-range', 'prevented', false, 0],
    ],
  );
  t.match(run.context.lanes, [{ lane: 'wine', keys: false, keysReason: /Windows has no protection keys/ }]);
  t.end();
});
