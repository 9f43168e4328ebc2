/**
 * The reports kept beside the records are those that the records give. A change of what a report says, or of how an
 * earlier record is read, shows here, and is kept on purpose (`npm run report:reference`).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import { readPrograms } from '../../src/record/programs.js';
import { EVIDENCE_FILE, readRun, REPORT_FILE, runFileIn } from '../../src/record/store.js';
import { PICTURE_FILE } from '../../src/report/files.js';
import { findings } from '../../src/report/findings/index.js';
import { renderMarkdown } from '../../src/report/markdown.js';

const results = inProject('results');
const kept = readdirSync(results)
  .filter((name) => name.startsWith('reference'))
  .map((name) => join(results, name))
  .filter((directory) => existsSync(runFileIn(directory)) && existsSync(join(directory, REPORT_FILE)));

// Broken once: an earlier record's table taken for a new one, so that reference-virtual lost most of its columns.
t.test('each kept report.md is what its record gives', (t) => {
  t.ok(kept.length >= 8, `${kept.length} records`);
  for (const directory of kept) {
    const found = findings(readRun(directory), readPrograms(directory));
    const lines = renderMarkdown(found, PICTURE_FILE, EVIDENCE_FILE).split('\n');
    const stand = readFileSync(join(directory, REPORT_FILE), 'utf8').split('\n');
    const at = lines.findIndex((line, index) => line !== stand[index]);
    t.strictSame([at, lines[at], lines.length], [-1, undefined, stand.length], `${directory}, line ${at + 1}`);
  }
  t.end();
});
