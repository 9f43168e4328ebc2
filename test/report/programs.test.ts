/**
 * What a report says of programs that were never ported: the catalogue on hosts and guarded demos, in report.html and
 * report.md, from a file beside run.json.
 * Broken once: writeReports not reading the file; a bad verdict without its tone.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { guardedTable, type GuardReport } from '../../src/guard/index.js';
import { readHosts } from '../../src/hosts/record.js';
import { hostCases } from '../../src/hosts/run.js';
import { hostTables } from '../../src/hosts/table.js';
import { inProject } from '../../src/record/paths.js';
import { readPrograms, writePrograms } from '../../src/record/programs.js';
import { readRun } from '../../src/record/store.js';
import { writeReports } from '../../src/report/files.js';

const quick = readRun(inProject('test/fixtures/run-quick'));

const GUARDED: GuardReport = {
  command: ['/usr/bin/python3', '/somewhere/demo.py'],
  lane: 'emulated',
  asked: 'pkeys',
  noKeys: '',
  exitCode: 0,
  koffi: [],
  processes: [
    {
      pid: 7,
      program: '/usr/bin/python3.11',
      adapter: 'cpython',
      mechanism: 'pkeys',
      callouts: 3,
      failed: 1,
      unguarded: 0,
      notAdopted: 0,
      heapRanges: 4,
      heapBytes: 4096,
      heapBytesAtEnd: 4096,
      open: '',
      notes: [],
      failures: [{ function: 'memset', count: 1, first: { text: 'SIGSEGV (SEGV_PKUERR) in memset' } }],
    },
  ],
};

t.test('the hosts stand in the report of a run, beside the stand-in', async (t) => {
  const directory = t.testdir();
  const record = readHosts(inProject('results/reference-hosts'));
  const tables = hostTables(record, await hostCases(), undefined);
  t.same(
    tables.map(({ id }) => id),
    ['cpython', 'node', 'ruby', 'squeak'],
  );
  t.same(readPrograms(directory), []);
  writePrograms(directory, [guardedTable([GUARDED]), ...tables]);
  await writeReports(directory, quick);
  const [markdown, page] = ['report.md', 'report.html'].map((name) => readFileSync(join(directory, name), 'utf8'));
  t.match(markdown, /^## Programs that were never ported$/m);
  t.match(
    markdown,
    /^\| python3 demo\.py \| emulated \| pkeys \| 3 \| 1 \| SIGSEGV \(SEGV_PKUERR\) in memset \| 0 \|$/m,
  );
  t.match(markdown, /^### Node, with koffi$/m);
  // what came through, and in bold what did not
  t.match(markdown, /^\| null: a store at address 0 \| \*\*crashed\*\* \| trapped \| trapped \| trapped \| +\|$/m);
  t.match(page, /<a href="#programs">Programs that were never ported<\/a>/);
  t.match(page, /<td\s+class="good">\s*prevented\s*<\/td>/);
  t.end();
});

t.test('the table claims of guarded programs only what each of them shows', (t) => {
  const [host] = GUARDED.processes;
  if (host === undefined) throw new Error('no process');
  const { failures } = host;
  const having = (part: Partial<typeof host>): GuardReport => ({ ...GUARDED, processes: [{ ...host, ...part }] });
  const second = { function: 'memcpy', count: 1, first: { text: 'SIGSEGV in memcpy' } };
  const titled = (report: GuardReport): string | undefined => guardedTable([GUARDED, report]).columns[5]?.title;
  const notes = (report: GuardReport): readonly string[] => guardedTable([GUARDED, report]).notes;
  t.match(notes(GUARDED), [/^Each program went on/]);
  t.same(notes({ ...GUARDED, exitCode: 139 }), [], 'one died');
  t.same(notes(having({ failed: 0, failures: [] })), [], 'in one, nothing failed');
  t.equal(titled(GUARDED), 'the first failure');
  t.equal(titled(having({ failures: [...failures, second] })), 'a failure', 'which was first, no report says');
  t.end();
});

t.test('a report without such a file says nothing of them', async (t) => {
  const directory = t.testdir();
  await writeReports(directory, quick);
  t.notMatch(readFileSync(join(directory, 'report.html'), 'utf8'), /never ported/);
});
