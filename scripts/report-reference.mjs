// `npm run report:reference`: makes from the recorded runs what is made of them. Packs each run as run.json.br, in
// which form runs are kept; writes the reports beside it, docs/limits.md, and the recorded figures into the documents.

import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { root } from './setup.mjs';

/** The run that docs/limits.md describes, and those beside it: another kernel; hardened guards under two. */
const LIMITS = {
  of: 'reference',
  beside: 'reference-6.12',
  hardened: 'reference-hardened',
  hardenedBeside: 'reference-hardened-7.2',
  file: 'docs/limits.md',
};

/** The record of the catalogue on hosts, and the run on the stand-in that it is set beside. */
const HOSTS = { of: join(root, 'results', 'reference-hosts'), standIn: join(root, 'results', 'reference') };

const built = (/** @type {string[]} */ ...path) => import(pathToFileURL(join(root, 'dist', 'src', ...path)).href);
const { PACKED_FILE, readRun, runFileIn, writePacked } = await built('record', 'store.js');
const { writePrograms } = await built('record', 'programs.js');
const { writeReports } = await built('report', 'files.js');
const { writeFigures } = await built('report', 'documents.js');
const { Figures } = await built('report', 'figures.js');
const { recordedRate } = await built('campaign', 'report', 'recorded.js');

const { hostCases } = await built('hosts', 'run.js');
const { readHosts } = await built('hosts', 'record.js');
const { reportHosts } = await built('hosts', 'report.js');
const { hostTables } = await built('hosts', 'table.js');

const results = join(root, 'results');
const cases = await hostCases();
const hosts = readHosts(HOSTS.of);
const names = readdirSync(results).filter(
  (name) => name.startsWith('reference') && existsSync(runFileIn(join(results, name))),
);
for (const name of names) {
  const directory = join(results, name);
  const run = readRun(directory);
  if (basename(runFileIn(directory)) !== PACKED_FILE) writePacked(directory, run);
  const others = () => ({
    beside: readRun(join(results, LIMITS.beside)),
    hardened: readRun(join(results, LIMITS.hardened)),
    hardenedBeside: readRun(join(results, LIMITS.hardenedBeside)),
  });
  if (name === LIMITS.of) writePrograms(directory, hostTables(hosts, cases, run));
  const limits = name === LIMITS.of ? [join(root, LIMITS.file), others()] : [];
  for (const path of await writeReports(directory, run, ...limits)) process.stdout.write(`${path}\n`);
}
reportHosts(HOSTS.of, hosts, cases, readRun(HOSTS.standIn));
writeFigures(new Figures(recordedRate));
