/**
 * One set of findings, several renderers. Tables are worked out once, and each renderer holds all of them. A cost
 * experiment that the report has never heard of is titled and charted by its own words.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import type { CorruptionRecord, CostRecord, Run } from '../../src/record/records.js';
import { csvLine, renderCsv } from '../../src/report/csv.js';
import { findings } from '../../src/report/findings/index.js';
import { surprises } from '../../src/report/findings/outcomes.js';
import { cellPlain } from '../../src/report/findings/table.js';
import { renderHtml } from '../../src/report/html/index.js';
import { escape } from '../../src/report/html/markup.js';
import { renderEvidence, renderMarkdown } from '../../src/report/markdown.js';
import { renderTerminal } from '../../src/report/terminal.js';
import { largeRun } from '../support/example-report.js';
import { exampleCorruption, exampleRun } from '../support/example-run.js';

t.test('every table is in the page, in Markdown and in CSV; the terminal has those that are its own', async (t) => {
  const found = findings(largeRun());
  const [page, report, evidence] = [await renderHtml(found), renderMarkdown(found), renderEvidence(found)];
  const csv = renderCsv(found);
  const terminal = renderTerminal(found, { colour: false, width: 200 });
  t.ok(found.tables.length > 40, `${found.tables.length} tables`);
  for (const table of found.tables) {
    const [text, other] = table.evidence === true ? [evidence, report] : [report, evidence];
    t.notOk(other.includes(`### ${table.title}`), `a table stands in one file: ${table.id}`);
    // facts stand under their section's heading
    if (table.layout !== 'facts') {
      t.ok(page.includes(escape(table.title)), `page: ${table.id}`);
      t.ok(text.includes(`### ${table.title}`), `Markdown: ${table.id}`);
    }
    if (table.terminal !== undefined) t.ok(terminal.includes(table.title), `terminal: ${table.id}`);
    const rows = csv.get(`tables/${table.id}.csv`)?.split('\r\n') ?? [];
    t.ok(rows.length > table.rows.length, `CSV: ${table.id}`);
    const lines = text.split('\n').filter((line) => line.startsWith('| ')).length;
    t.ok(lines > table.rows.length, table.id);
    for (const [at, { cells }] of table.rows.entries()) {
      const last = cells.at(-1);
      if (last?.kind === 'words')
        t.ok(rows[at + 1]?.endsWith(csvLine([cellPlain(last)]).trimEnd()), `${table.id} ${at}`);
    }
  }
  t.equal(new Set(found.tables.map(({ id }) => id)).size, found.tables.length, 'an id is one table');
});

t.test('findings are worked out once: renderers read no record', async (t) => {
  // Broken once: renderMarkdown working the tables out again from found.run; it read the records and was counted.
  let reads = 0;
  const run = largeRun();
  const { records } = run;
  const counted: Run = Object.defineProperty({ ...run }, 'records', {
    get() {
      reads++;
      return records;
    },
  });
  const found = findings(counted);
  reads = 0;
  renderMarkdown(found);
  renderTerminal(found, { colour: false, width: 120 });
  t.equal(reads, 0);
  await renderHtml(found);
  t.ok(reads <= 3, `the page carries the run itself, and says what its verdicts mean: ${reads} reads`);
});

t.test('an experiment that nobody knows is titled, asked and charted by its own words', async (t) => {
  const row = (size: number, mechanism: CostRecord['mechanism']): CostRecord => ({
    kind: 'cost',
    experiment: 'of-my-own',
    mechanism,
    lane: 'native',
    varied: { grains: size },
    found: {},
    rung: `a grain, ${mechanism}`,
    unit: 'ns',
    samples: [size, size + 1, size, size + 1, size],
    median: size,
  });
  const run: Run = {
    ...exampleRun,
    context: {
      ...exampleRun.context,
      experiments: [
        {
          name: 'of-my-own',
          title: 'Grains of sand',
          question: 'How much is one more?',
          order: 1,
          shows: 'lines',
          parameters: { grains: { role: 'x' } },
        },
      ],
    },
    records: [1, 10, 100].flatMap((size) => [row(size, 'none'), row(2 * size, 'flag')]),
  };
  const page = await renderHtml(findings(run));
  t.match(page, /<h2 id="cost-of-my-own-head">Grains of sand<\/h2>/);
  t.match(page, /How much is one more\?/);
  t.match(page, /aria-label="Grains of sand, Time, native lane"/);
  t.match(page, /<title>flag, grains 20: 20\.0 ns/);
  t.match(page, /a grain, flag/);
  t.end();
});

// Broken once: markdown.ts importing html/markup.ts, as it did; it was named.
t.test('nothing but html/ knows HTML', (t) => {
  const folder = inProject('src/report');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const importers = files.filter(
    (name) =>
      !name.startsWith('html/') &&
      name !== 'files.ts' &&
      /from '[^']*\/html\//.test(readFileSync(join(folder, name), 'utf8')),
  );
  t.same(importers, [], 'files.ts alone writes pages');
  t.end();
});

t.test('a surprise of a hardened guard is shown as one of a guard as it is', (t) => {
  const record: CorruptionRecord = { ...exampleCorruption, verdict: 'crashed', surprise: true, harden: 'all' };
  const titles = surprises({ ...exampleRun, records: [record] }).map(({ title }) => title);
  t.same(titles, ['wild-write, pkeys+all, emulated: crashed !']);
  t.end();
});
