/**
 * Reports: pure functions of a run; everything in it is in them, and no time from where only instructions are counted.
 */
import t from 'tap';

import type { CostRecord, Run } from '../../src/record/records.js';
import { formatBytes, formatCount, formatNs } from '../../src/report/findings/format.js';
import { findings } from '../../src/report/findings/index.js';
import { cellPlain } from '../../src/report/findings/table.js';
import { plainText } from '../../src/report/findings/text.js';
import { renderMarkdown } from '../../src/report/markdown.js';
import { renderTerminal } from '../../src/report/terminal.js';
import { exampleCorruption, exampleCost, exampleHonest, exampleRun, withRecords } from '../support/example-run.js';

const counted: CostRecord = {
  ...exampleCost,
  lane: 'emulated',
  mechanism: 'pkeys',
  unit: 'instructions',
  samples: [22.02, 22, 23],
  median: 22.02,
};

t.test('numbers', (t) => {
  t.equal(formatNs(0.674), '0.67 ns');
  t.equal(formatNs(4931), '4.93 µs');
  t.equal(formatNs(999.6), '1.00 µs');
  t.equal(formatNs(2_362_355), '2.36 ms');
  t.equal(formatNs(1.5e9), '1.50 s');
  t.equal(formatCount(22.002), '22');
  t.equal(formatCount(5398), '5,398');
  t.equal(formatCount(243_306_796), '243 M');
  t.equal(formatBytes(65536), '64 KiB');
  t.equal(formatBytes(67108864), '64 MiB');
  t.end();
});

t.test('the same run gives the same text', (t) => {
  t.equal(
    renderMarkdown(findings(exampleRun)),
    renderMarkdown(findings(JSON.parse(JSON.stringify(exampleRun)) as Run)),
  );
  t.end();
});

t.test('lanes have tables of their own, and the emulated one has no times', (t) => {
  const tables = findings(withRecords([exampleCost, counted])).tables.filter(({ id }) => id.startsWith('costs-'));
  t.same(
    tables.map(({ title }) => title.replace(/.*, /, '')),
    ['native lane', 'emulated lane'],
  );
  t.same(
    tables.map(({ columns }) => columns.map((column) => column.title)),
    [
      ['image', 'mechanism'],
      ['image', 'mechanism'],
    ].map(([image], at) => [image, at === 0 ? 'mprotect-range' : 'pkeys']),
  );
  t.same(
    tables.map(({ rows }) => rows.map(({ cells }) => cells.map(cellPlain))),
    [[['64 KiB', '5.00 µs']], [['64 KiB', '22 instr. [0 / 0 / 2 / 0]']]],
  );
  const markdown = renderMarkdown(findings(withRecords([counted])));
  const measured = markdown
    .replace(/\*\*\d+ to \d+ ns\*\* by published latencies \(a model[^)]*\)/g, '')
    .replace(/^.*two WRPKRU at 11 to 260 cycles.*$/gm, '');
  t.notMatch(measured, /\d (ns|µs|ms)\b/, "no time in a report of counted rows only, but the model's");
  t.end();
});

t.test('surprises come first and say what was expected and seen', (t) => {
  const run = withRecords([
    {
      ...exampleCorruption,
      verdict: 'damaged',
      announced: false,
      surprise: true,
      evidence: { ...exampleCorruption.evidence, because: '8 bytes differ' },
    },
    { ...exampleHonest, mechanism: 'flag', outcome: 'differs', detail: 'not the bytes of none' },
    {
      kind: 'skipped',
      of: 'cost',
      name: 'flip',
      mechanism: 'pkeys',
      lane: 'emulated',
      reason: 'no emulated machine',
      broken: true,
    },
  ]);
  t.same(
    findings(run).surprises.map(({ record }) => record),
    run.records,
    'each with its record',
  );
  const markdown = renderMarkdown(findings(run));
  t.ok(markdown.indexOf('## Surprises') < markdown.indexOf('## Corruption'));
  t.match(markdown, /wild-write, pkeys, emulated: damaged !/);
  t.match(markdown, /expected prevented: the key denies writes/);
  t.match(markdown, /seen: 8 bytes differ/);
  t.match(renderTerminal(findings(run), { colour: false, width: 120 }), /^Surprises \(3\)/);
  t.end();
});

t.test('colour adds nothing that the words do not say', (t) => {
  // oxlint-disable-next-line eslint/no-control-regex -- colours are control sequences
  const bare = renderTerminal(findings(exampleRun), { colour: true, width: 120 }).replace(/\u001b\[\d+m/g, '');
  t.equal(bare, renderTerminal(findings(exampleRun), { colour: false, width: 120 }));
  t.match(bare, /prevented/);
  t.match(bare, /the CPU shows no PKU/);
  t.end();
});

t.test('text from a run cannot break a Markdown table', (t) => {
  const run = withRecords([
    {
      kind: 'skipped',
      of: 'honest',
      name: 'a|b',
      mechanism: 'pkeys',
      lane: 'native',
      reason: 'line\nbreak | <b>bold</b>',
    },
  ]);
  const line =
    renderMarkdown(findings(run))
      .split('\n')
      .find((one) => one.includes('a\\|b')) ?? '';
  t.match(line, /line break \\\| &lt;b>bold/);
  t.end();
});

t.test('an empty run has a report', (t) => {
  t.match(renderMarkdown(findings(withRecords([]))), /Every verdict was an expected one/);
  t.type(renderTerminal(findings(withRecords([])), { colour: false, width: 80 }), 'string');
  t.end();
});

t.test('after the callout: what had to be checked, and what restore() did', (t) => {
  const { evidence } = exampleCorruption;
  const { fault } = evidence;
  if (fault === null) throw new Error('the example has a fault');
  const diff = (text: string): typeof evidence.diff => ({
    changedBytes: 8,
    ranges: [],
    heap: { sound: text.startsWith('sound'), text },
  });
  const restored = (equal: boolean): NonNullable<typeof evidence.restored> => ({ bytes: 4096, equal, heap: 'sound' });
  const flag = { ...exampleCorruption, mechanism: 'flag' } as const;
  const table = findings(
    withRecords([
      exampleCorruption,
      { ...flag, verdict: 'trapped', evidence: { ...evidence, fault: { ...fault, image: 'unknown' } } },
      {
        ...flag,
        case: 'a',
        verdict: 'damaged',
        announced: true,
        evidence: {
          ...evidence,
          fault: { ...fault, image: 'unknown' },
          diff: diff('3 problems'),
          restored: restored(true),
        },
      },
      {
        ...flag,
        case: 'b',
        verdict: 'damaged',
        evidence: { ...evidence, fault: null, diff: diff('sound: 5 objects'), restored: restored(true) },
      },
      {
        ...flag,
        case: 'c',
        verdict: 'damaged',
        evidence: { ...evidence, fault: null, diff: diff('1 problems'), restored: restored(false) },
      },
      {
        ...flag,
        case: 'lua',
        verdict: 'damaged',
        evidence: { ...evidence, fault: null, diff: { changedBytes: 8, ranges: [], heap: null } },
      },
      {
        ...flag,
        case: 'd',
        verdict: 'crashed',
        evidence: { ...evidence, diff: null, process: { ...evidence.process, stage: 'called' } },
      },
      {
        ...exampleCost,
        experiment: 'image-check',
        mechanism: 'none',
        varied: { imageBytes: 1 << 26, operation: 'verify' },
        median: 38e6,
      },
    ]),
  ).tables.find(({ id }) => id === 'aftermath');
  t.same(
    table?.rows.map(({ cells }) => cells.map(cellPlain)),
    [
      ['emulated', 'flag', '2', '2', '1', '1 of 1', '3', '1 of 2', '2 of 3'],
      ['emulated', 'pkeys', '1', '0', '0', '–', '0', '–', '–'],
    ],
  );
  t.match(table?.notes.map(plainText).join(' '), /64 MiB, native lane: verify\(\) 38\.0 ms$/);
  t.end();
});
