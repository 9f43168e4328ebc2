/**
 * Repetitions of a cell: forked from warm hosts, made afresh where those disagree; hangs that nobody expected. On this
 * machine, in real processes.
 */
import { release } from 'node:os';

import t from 'tap';

import { loadCorruption } from '../../src/experiment/catalogue.js';
import { jobOutput, parseOutput } from '../../src/experiment/protocol.js';
import type { CorruptionRecord, RunRecord } from '../../src/record/records.js';
import type { GuardMechanism } from '../../src/record/words.js';
import type { ExecOptions, ExecResult, Executor } from '../../src/run/executor.js';
import { NativeExecutor } from '../../src/run/native.js';
import type { PlannedCorruption } from '../../src/run/plan.js';
import { runTrials } from '../../src/run/trials.js';

const context = {
  lane: 'native',
  keys: false,
  keysReason: 'not asked for',
  cpu: '',
  kernel: release(),
  details: {},
} as const;

/** The native lane, with what it is asked to run noted, and each answer passed through `change`. */
function watched(change: (command: readonly string[], result: ExecResult) => ExecResult = (_, result) => result): {
  readonly executor: Executor;
  readonly commands: string[][];
} {
  const native = new NativeExecutor(context, 1);
  const commands: string[][] = [];
  const executor: Executor = {
    lane: native.lane,
    context,
    concurrency: 1,
    slowness: native.slowness,
    close: () => native.close(),
    async run(argv: readonly string[], options: ExecOptions) {
      commands.push([...argv]);
      return change(argv, await native.run(argv, options));
    },
  };
  return { executor, commands };
}

async function planned(
  name: string,
  mechanism: GuardMechanism,
  repeats: number,
): Promise<readonly PlannedCorruption[]> {
  const experiment = await loadCorruption(name);
  return Array.from({ length: repeats }, (_, repeat): PlannedCorruption => ({
    kind: 'corruption',
    name,
    lane: 'native',
    mechanism,
    deny: 'write',
    keys: 'image',
    keysHere: false,
    seed: 100 + repeat,
    repeat,
    kernel: release(),
    experiment,
  }));
}

const isWarm = (command: readonly string[]): boolean => command.includes('warm');
const cell = (records: readonly RunRecord[]): CorruptionRecord => {
  const [record] = records;
  if (records.length !== 1 || record?.kind !== 'corruption')
    throw new Error(`not one record of a corruption: ${JSON.stringify(records)}`);
  return record;
};

t.test('what trials of one host wrote is told apart, late words of others left out', (t) => {
  const failed = (job: number): string => `@trial {"stage":"failed","reason":"job ${job}","job":${job}}`;
  const stream = ['hello', '@job 0', failed(0), '@job 1', failed(0), failed(1), '@job 10', failed(10), ''].join('\n');
  t.equal(parseOutput(jobOutput(stream, 0), 0).failed?.reason, 'job 0');
  t.equal(parseOutput(jobOutput(stream, 1), 1).failed?.reason, 'job 1');
  t.equal(jobOutput(stream, 2), '', 'the host did not come to it');
  t.equal(parseOutput(failed(1)).failed, null, 'a fresh trial has no number');
  t.end();
});

t.test('the first repetition is a fresh Node, the others are forked from one host', async (t) => {
  const { executor, commands } = watched();
  const record = cell(await runTrials(executor, await planned('wild-write', 'mprotect-range', 4)));
  t.strictSame(record.repetitions, ['prevented', 'prevented', 'prevented', 'prevented']);
  t.equal(commands.length, 2);
  t.equal(commands.filter(isWarm).length, 1);
});

t.test('deaths and damage in a forked trial are seen as in a fresh one', async (t) => {
  const { executor, commands } = watched();
  const trials = [
    ...(await planned('null-pointer', 'none', 3)),
    ...(await planned('thread-fault', 'flag', 3)),
    ...(await planned('wild-write', 'flag', 3)),
  ];
  const records = await runTrials(executor, trials);
  t.strictSame(
    records.map((record) => record.kind === 'corruption' && record.repetitions),
    [
      ['crashed', 'crashed', 'crashed'],
      ['crashed', 'crashed', 'crashed'],
      ['damaged', 'damaged', 'damaged'],
    ],
  );
  t.equal(commands.length, 4, 'three fresh ones and one host');
});

t.test('a forked trial that disagrees with the fresh one is made afresh', async (t) => {
  const { executor, commands } = watched((command, result) =>
    isWarm(command) ? { ...result, stdout: result.stdout.replace(/"changedBytes":\d+/g, '"changedBytes":0') } : result,
  );
  const record = cell(await runTrials(executor, await planned('wild-write', 'flag', 3)));
  t.strictSame(record.repetitions, ['damaged', 'damaged', 'damaged']);
  t.notOk(record.unstable);
  t.equal(commands.filter((command) => !isWarm(command)).length, 3);
});

t.test('trials that a host did not come to are made afresh', async (t) => {
  const { executor, commands } = watched((command, result) => (isWarm(command) ? { ...result, stdout: '' } : result));
  const record = cell(await runTrials(executor, await planned('wild-write', 'mprotect-range', 3)));
  t.strictSame(record.repetitions, ['prevented', 'prevented', 'prevented']);
  t.equal(commands.filter((command) => !isWarm(command)).length, 3);
});

t.test('a hang that was not expected is believed only when it comes again', async (t) => {
  for (const often of [1, 2]) {
    let left = often;
    const { executor, commands } = watched((_, result) =>
      left-- > 0 ? { ...result, stdout: result.stdout.replaceAll('"timedOut":false', '"timedOut":true') } : result,
    );
    const record = cell(await runTrials(executor, await planned('wild-write', 'mprotect-range', 1)));
    t.strictSame(record.repetitions, [often === 1 ? 'prevented' : 'hung']);
    t.equal(commands.length, 2);
  }
});
