/** Runs of schema version 1 read as they were meant: what was a sentence or a name then is a value now. */
import { writeFileSync } from 'node:fs';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

import t from 'tap';

import type { CorruptionRecord, CostRecord } from '../../src/record/records.js';
import { checkRun } from '../../src/record/schema.js';
import { packed, PACKED_FILE, readRun, SAVED_FILE, writePacked, writeRun } from '../../src/record/store.js';
import { findings } from '../../src/report/findings/index.js';
import { exampleCorruption, exampleCost, exampleHonest, exampleRun, exampleSkipped } from '../support/example-run.js';

/** A run as version 1 wrote it. */
function version1(
  cost: Readonly<Record<string, unknown>> = {},
  corruption: Readonly<Record<string, unknown>> = {},
  details: Readonly<Record<string, string>> = {},
): Record<string, unknown> {
  const { varied: _, found: __, ...bare } = exampleCost;
  const { experiments: ___, ...context } = exampleRun.context;
  const { evidence } = exampleCorruption;
  return {
    schemaVersion: 1,
    context: { ...context, lanes: context.lanes.map((lane) => ({ ...lane, details })) },
    records: [
      {
        ...exampleCorruption,
        evidence: { ...evidence, diff: { changedBytes: 0, ranges: [], heap: 'sound: 5 objects' } },
        ...corruption,
      },
      exampleHonest,
      { ...bare, parameters: { imageBytes: 65536, pages: 16, repeats: 256 }, ...cost },
      exampleSkipped,
    ],
  };
}
const costOf = (value: unknown): CostRecord =>
  checkRun(value, 'x').records.find((record): record is CostRecord => record.kind === 'cost')!;
const corruptionOf = (value: unknown): CorruptionRecord =>
  checkRun(value, 'x').records.find((record): record is CorruptionRecord => record.kind === 'corruption')!;

t.test('what a row varies and what measuring found are apart; the size of the image is told once', (t) => {
  const record = costOf(version1());
  t.same([record.varied, record.found], [{ imageBytes: 65536 }, { repeats: 256 }]);
  t.same(costOf(version1({ parameters: { pages: 4 } })).varied, { imageBytes: 16384 });
  t.same(costOf(version1({ parameters: { imageBytes: 1 << 20, touchedPages: 4 } })).varied, {
    imageBytes: 1 << 20,
    touchedPages: 4,
  });
  const called = costOf(
    version1({ experiment: 'callout-koffi', parameters: { signature: 'one callback', by: 'guard' } }),
  );
  t.same(called.found, { callbacks: 1 });
  t.equal(costOf(version1({ experiment: 'callout' })).rung, 'callout in C, mprotect-range');
  t.end();
});

t.test('warnings are codes with values, of rows and of lanes', (t) => {
  const sentences = [
    'only 3 samples: one operation takes long; measure a smaller image for an interval',
    'noisy: the median absolute deviation is over 5.0 % of the median; let nothing else run and try again',
    'the clock is coarse for this: reading it takes over 2.0 % of what is timed at once; that is taken off, ' +
      'but compare only with rows timed alike',
    'put aside for other processes in one batch of four, or more; let nothing else run and try again',
    'oversubscribed: more threads than processors, so the scheduler is part of the figure; use a machine with more',
    'something of its own; do this',
  ];
  t.same(costOf(version1({ warnings: sentences })).warnings, [
    { code: 'few-samples', samples: 3 },
    { code: 'noisy', over: 0.05 },
    { code: 'coarse-clock', over: 0.02 },
    { code: 'put-aside', over: 0.25 },
    { code: 'oversubscribed' },
    { code: 'other', text: 'something of its own', remedy: 'do this' },
  ]);
  const { lanes } = checkRun(
    version1({}, {}, { clock: 'TSC', 'warning: virtualised': 'a virtual machine: slow; measure on bare metal' }),
    'x',
  ).context;
  t.same(lanes[0]?.details, { clock: 'TSC' });
  t.same(lanes[0]?.warnings, [{ code: 'virtualised' }]);
  t.end();
});

t.test('a remedy has its kinds, and a walk over the heap its outcome', (t) => {
  const remedy = 'sealing (mseal, 6.10), or a filter of system calls';
  t.same(corruptionOf(version1({}, { remedy })).remedy, { kinds: ['filter', 'seal'], text: remedy });
  t.same(corruptionOf(version1({}, { remedy: 'a better gate' })).remedy?.kinds, ['vm']);
  t.same(corruptionOf(version1()).evidence.diff?.heap, { sound: true, text: 'sound: 5 objects' });
  t.end();
});

t.test('the experiments that version 1 had describe themselves, those that the run has', (t) => {
  const run = checkRun(version1(), 'x');
  t.same(
    run.context.experiments.map(({ name }) => name),
    ['flip'],
  );
  t.ok(findings(run).sections.some(({ title }) => title === 'Closing and opening the image'));
  t.end();
});

t.test('a remedy that was found wrong later is read as it should be', (t) => {
  // Broken once: `corrected` answering the records as they are.
  const remedy =
    'a filter of system calls that denies opening /proc/self/mem; proc mounted so that it cannot be written ' +
    '(6.10: proc_mem.force_override)';
  const read = (name: string) => corruptionOf(version1({}, { case: name, remedy })).remedy;
  t.match(read('proc-self-mem')?.text, /force_override=never \(6\.12\) helps mprotect and not keys/);
  t.same(read('proc-self-mem')?.kinds, ['filter']);
  t.equal(read('another-case')?.text, remedy);
  t.end();
});

t.test('what is wrong with a run of version 1 is said as of any other', (t) => {
  t.throws(() => checkRun(version1({ unit: 'hours' }), 'x'), { name: 'RunFormatError' });
  t.throws(() => checkRun({ schemaVersion: 1, context: {}, records: [] }, 'x'), { message: /no context, no lanes/ });
  t.throws(() => checkRun({ schemaVersion: 1 }, 'x'), { name: 'RunFormatError' });
  t.end();
});

t.test('a run that a page handed out, packed by gzip, is read', (t) => {
  const bytes = packed(JSON.stringify(exampleRun));
  t.same(bytes, packed(gunzipSync(bytes).toString()), 'with the same bytes each time');
  const directory = t.testdir({});
  writeFileSync(join(directory, SAVED_FILE), bytes);
  t.same(readRun(directory), exampleRun);
  t.same(readRun(join(directory, SAVED_FILE)), exampleRun);
  t.end();
});

t.test('a packed run comes back, in place of the plain one, with the same bytes each time', (t) => {
  const directory = t.testdir({});
  writeRun(directory, exampleRun);
  const path = writePacked(directory, exampleRun);
  t.equal(path, join(directory, PACKED_FILE));
  t.same(readRun(directory), exampleRun);
  t.same(readRun(path), exampleRun);
  t.throws(() => readRun(join(directory, 'run.json')), { message: /no such file/ });
  const bytes = readFileSync(path);
  writePacked(directory, exampleRun);
  t.same(readFileSync(path), bytes);
  writeFileSync(path, bytes.subarray(0, 100));
  t.throws(() => readRun(directory), { name: 'RunFormatError', message: /run\.json\.br is not JSON/ });
  t.end();
});
