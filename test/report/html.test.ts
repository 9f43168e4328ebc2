/**
 * report.html as text: a pure function of a run, safe whatever a record says, honest about lanes. What a browser makes
 * of it is in html-browser.test.ts.
 */
import { gunzipSync } from 'node:zlib';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import type { CostRecord, Run } from '../../src/record/records.js';
import { readRun } from '../../src/record/store.js';
import { bootstrapMedian } from '../../src/report/findings/bootstrap.js';
import { logAxis } from '../../src/report/findings/charts.js';
import { costCells } from '../../src/report/findings/costs.js';
import { findings } from '../../src/report/findings/index.js';
import { keyModel } from '../../src/report/findings/key-model.js';
import { plainText } from '../../src/report/findings/text.js';
import { drawPanel } from '../../src/report/html/blocks.js';
import { renderHtml } from '../../src/report/html/index.js';
import { dodge } from '../../src/report/html/line-chart.js';
import { escape, html, slug } from '../../src/report/html/markup.js';
import { renderPicture } from '../../src/report/html/picture.js';
import { harmfulRun, largeRun } from '../support/example-report.js';
import { exampleCorruption, exampleCost, withRecords } from '../support/example-run.js';

const quick = readRun(inProject('test/fixtures/run-quick'));
const answerText = (run: Run): string =>
  findings(run)
    .answer.map(({ text }) => plainText(text))
    .join(' ');

t.test('templates escape what is put into them, and only that', (t) => {
  t.equal(
    html`<p title="${'"<&\''}">${['<b>', html`<i>${'>'}</i>`]}</p>`.text,
    '<p title="&quot;&lt;&amp;&#39;">&lt;b&gt;<i>&gt;</i></p>',
  );
  t.equal(html`${false}${null}${undefined}${0}`.text, '0');
  t.equal(escape('a\u0000b'), 'a\ufffdb');
  t.equal(slug('pkeys, no access', 'x'), 'pkeys-no-access--x');
  t.end();
});

t.test('the same run gives the same page', async (t) => {
  t.equal(await renderHtml(findings(quick)), await renderHtml(findings(JSON.parse(JSON.stringify(quick)) as Run)));
});

t.test('a page asks for nothing: no address of another host, a policy that forbids it', async (t) => {
  const page = await renderHtml(findings(largeRun()));
  t.match(page, /Content-Security-Policy" content="default-src &#39;none&#39;;/);
  const outside = [...page.matchAll(/(?:src|href|action|url)\s*[=(]\s*["']?([a-z]+:[^"'\s>)]*)/g)]
    .map(([, address]) => address ?? '')
    .filter((address) => !address.startsWith('data:'));
  t.same(outside, []);
});

t.test('text from a run cannot become markup, wherever it stands', async (t) => {
  const page = await renderHtml(findings(harmfulRun()));
  const packed = /id="evidence-data">([^<]*)</.exec(page)?.[1] ?? '';
  const evidence = gunzipSync(Buffer.from(packed, 'base64')).toString();
  for (const [name, text] of [
    ['page', page],
    ['evidence', evidence],
  ] as const) {
    t.notMatch(text, /<script>document/, `${name}: no script`);
    t.notMatch(text, /<img/, `${name}: no image`);
    t.notMatch(text, /<\/dd><\/script>/, name);
    t.match(text, '&lt;img src=&quot;https://example.invalid', `${name}: it is there as text`);
  }
  t.equal(page.match(/<script/g)?.length, 2, "the page's own script and its evidence");
});

t.test('times and counted instructions never share a picture, and the model has one of its own', async (t) => {
  const { picture } = findings(quick);
  t.same(
    picture.panels.map(({ lane }) => lane),
    ['native', 'emulated', 'model'],
  );
  const [native, emulated, model] = (await Promise.all(picture.panels.map((panel) => drawPanel(panel, 'main')))).map(
    ({ svg }) => svg.text,
  );
  t.match(native, /<title>mprotect-range[^<]*native lane/);
  t.notMatch(native, /instr|emulated lane/);
  t.notMatch(native, /pkeys/, 'nothing of keys was measured here');
  t.match(emulated, /<title>pkeys, image 64 KiB: 56 instructions/);
  t.notMatch(emulated, /\d (?:ns|µs|ms)\b/);
  t.match(model, /Model, not measured/);
  t.notMatch(model, /<title>mprotect/);
});

t.test('where the CPU has keys there is no model', async (t) => {
  const key: CostRecord = { ...exampleCost, mechanism: 'pkeys', samples: [20, 20, 20, 20, 20], median: 20 };
  const run = withRecords([
    exampleCost,
    { ...exampleCost, varied: { imageBytes: 1 << 20 } },
    key,
    { ...key, varied: { imageBytes: 1 << 20 } },
  ]);
  t.equal(keyModel(run), null);
  t.notMatch(await renderHtml(findings(run)), /a model/);
  t.match(answerText(run), /Keys cost the same for every image from 64 KiB to 1 MiB/);
});

t.test("the answer's numbers are those of the records", (t) => {
  const text = answerText(quick);
  const of = (mechanism: string): readonly CostRecord[] =>
    quick.records.filter(
      (record): record is CostRecord =>
        record.kind === 'cost' &&
        record.experiment === 'callout' &&
        record.lane === 'emulated' &&
        record.mechanism === mechanism,
    );
  t.match(
    text,
    /Of 3 ways in which faulty foreign code damages or reads the memory of an unprotected VM, protection keys stopped 3; a signal trap without keys, which turns crashes into errors but closes nothing, stopped 0/,
  );
  t.match(
    text,
    new RegExp(`executes ${Math.floor(Math.min(...(of('pkeys')[0]?.samples ?? [])))} instructions, 2 of them`),
  );
  t.match(text, /7 to 173 ns by published latencies \(a model/);
  t.match(text, /mprotect grows with the image, by a factor of 30 from 64 KiB to 4 MiB/);
  t.end();
});

t.test('what keys do not stop is in the answer, by name', (t) => {
  const left = { ...exampleCorruption, case: 'heap-write', group: 'left open', verdict: 'host-damaged' } as const;
  const text = answerText(
    withRecords([
      { ...exampleCorruption, mechanism: 'none', verdict: 'damaged' },
      exampleCorruption,
      { ...left, mechanism: 'none' },
      left,
    ]),
  );
  t.match(text, /Of 2 ways .* stopped 1\. They did not save the VM in 1 of all 2 cases: heap-write \(/);
  t.end();
});

t.test('an experiment that nobody foresaw, and an empty run, have their place', async (t) => {
  t.match(await renderHtml(findings(largeRun())), /an-experiment-of-the-future/);
  const empty = await renderHtml(findings(withRecords([])));
  t.match(empty, /No surprises/);
  t.notMatch(empty, /id="matrix"/);
  t.equal(await renderPicture(findings(withRecords([])).picture), null);
});

t.test('every record is in the page: as a cell, as a number, and in the raw data', async (t) => {
  const page = await renderHtml(findings(quick));
  const evidence = gunzipSync(Buffer.from(/id="evidence-data">([^<]*)</.exec(page)?.[1] ?? '', 'base64')).toString();
  const buttons = page.match(/<button class="badge/g)?.length;
  t.equal(buttons, quick.records.filter(({ kind }) => kind === 'corruption').length);
  for (const record of quick.records) {
    if (record.kind === 'corruption') {
      t.match(page, `data-case="${slug(record.case)}"`);
      t.match(evidence, `<article id="${slug(record.lane, record.case, record.mechanism)}"`);
    }
    if (record.kind === 'skipped') t.match(page, escape(record.reason));
  }
  const data = /href="data:application\/gzip;base64,([^"]*)"/.exec(page)?.[1] ?? '';
  t.same(JSON.parse(gunzipSync(Buffer.from(data, 'base64')).toString()), JSON.parse(JSON.stringify(quick)));
});

t.test("a full run's page is at most 2 MiB and takes at most 3 s of a processor", async (t) => {
  const run = largeRun();
  const before = process.cpuUsage();
  const page = await renderHtml(findings(run));
  const { user, system } = process.cpuUsage(before);
  t.ok(Buffer.byteLength(page) <= 2 << 20, `${Buffer.byteLength(page)} bytes`);
  t.ok(user + system <= 3e6, `${(user + system) / 1e6} s`);
});

t.test('so is that of the reference: the whole matrix in both lanes, every cost row, all evidence', async (t) => {
  const reference = readRun(inProject('results/reference'));
  const cells = reference.records.filter((record) => record.kind === 'corruption');
  t.ok(cells.length > 1500, `${cells.length} cells`);
  const page = await renderHtml(findings(reference));
  t.ok(Buffer.byteLength(page) <= 2 << 20, `${Buffer.byteLength(page)} bytes`);
});

t.test('so is that of a matrix in both lanes whose evidence packing cannot join', async (t) => {
  const catalogue = readRun(inProject('results/reference'));
  const recorded = catalogue.records.filter((record) => record.kind === 'corruption');
  const columns = (['native', 'emulated'] as const).flatMap((lane) =>
    (['none', 'flag', 'mprotect-page', 'mprotect-range', 'pkeys'] as const)
      .filter((mechanism) => lane === 'emulated' || mechanism !== 'pkeys')
      .map((mechanism) => ({ lane, mechanism })),
  );
  let number = 0;
  // Every cell has evidence of its own: addresses and seeds that packing cannot join.
  const corruption = [...new Set(recorded.map((record) => record.case))].flatMap((name) =>
    columns.flatMap(({ lane, mechanism }) => {
      const of = recorded.filter((record) => record.case === name);
      const [from] = of.slice(number % of.length);
      if (from === undefined) return [];
      const variants =
        mechanism === 'pkeys'
          ? ([
              { deny: 'write', keys: 'image' },
              { deny: 'access', keys: 'image' },
              { deny: 'write', keys: 'space' },
            ] as const)
          : ([{ deny: 'write', keys: 'image' }] as const);
      return variants.map((variant) => {
        number++;
        const at = (step: number): string => `0x7f${((number * step * 65537) % 2 ** 40).toString(16)}`;
        const { fault } = from.evidence;
        return {
          ...from,
          lane,
          mechanism,
          ...variant,
          seed: (number * 7919) % 2 ** 31,
          evidence: {
            ...from.evidence,
            fault: fault === null ? null : { ...fault, address: at(7919), pc: at(104_729) },
          },
        };
      });
    }),
  );
  t.ok(corruption.length > 1500, `${corruption.length} cells`);
  const page = await renderHtml(
    findings({
      ...catalogue,
      records: [...corruption, ...largeRun().records.filter((record) => record.kind !== 'corruption')],
    }),
  );
  t.ok(Buffer.byteLength(page) <= 2 << 20, `${Buffer.byteLength(page)} bytes`);
});

t.test('samples of one cell are joined; intervals hold the median; repeats do not make a new cell', (t) => {
  const cells = costCells(
    withRecords([exampleCost, { ...exampleCost, found: { repeats: 7 }, samples: [4000, 4100], median: 4050 }]),
  );
  t.equal(cells.length, 1);
  t.same(cells[0]?.samples, [5000, 4900, 5100, 4000, 4100]);
  t.equal(cells[0]?.value, 4900);
  const interval = bootstrapMedian([1, 2, 3, 4, 100]);
  t.ok(interval.low <= 3 && interval.high >= 3 && interval.low < interval.high);
  t.same(bootstrapMedian([5, 5, 5]), { low: 5, high: 5 });
  t.end();
});

t.test('labels do not cover each other and stay inside; axes hold their values', (t) => {
  const placed = dodge([10, 11, 12, 199], 14, 200);
  const sorted = [...placed].sort((a, b) => a - b);
  sorted.forEach((at, index) => {
    if (index > 0) t.ok(at - (sorted[index - 1] ?? 0) >= 14);
  });
  t.ok(placed.every((at) => at <= 200));
  const axis = logAxis([0.7, 3e6], 'x', 'ns');
  t.ok(axis.domain[0] <= 0.7 && axis.domain[1] >= 3e6);
  t.end();
});

t.test('the picture is a file of its own that knows both schemes', async (t) => {
  const svg = (await renderPicture(findings(quick).picture)) ?? '';
  t.match(svg, /^<svg xmlns/);
  t.match(svg, /prefers-color-scheme:dark/);
  t.match(svg, /native: measured on this CPU/);
  t.match(svg, /not measured: published latencies/);
});
