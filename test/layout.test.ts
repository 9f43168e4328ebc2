/**
 * How long files are, and which folder may import which (docs/architecture.md, the table of layers). The folders of
 * src/ are what runs where: the parent (run), the child (trial), what both know (record, experiment), the library, and
 * what reads records alone (report).
 * Broken once: src/trial/trial.ts importing a type from src/run/trials.ts, as it did; src/trial/process.ts importing
 * koffi, as it did; scripts/reference.mjs importing from dist/test, as it did. Each was named with its arrow.
 * A file of 401 lines in src/, scripts/ and native/pkeys/, and a gate and a script without its reason, each named.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, sep } from 'node:path';

import t from 'tap';
import ts from 'typescript';

import { PROJECT_ROOT } from '../src/record/paths.js';

const LIBRARY = ['src', 'src/image', 'src/callout', 'src/scan'];

/** What the files of a folder may import, besides their own folder: folders, or one file of a folder. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  src: LIBRARY,
  'src/image': LIBRARY,
  'src/callout': LIBRARY,
  'src/scan': [],
  'src/register': LIBRARY,
  'src/guard': ['src', 'src/record', 'src/machine'],
  'src/record': ['src', 'src/image/mechanism.ts'],
  'src/machine': ['src', 'src/record'],
  'src/experiment': [...LIBRARY, 'src/record'],
  'src/run': [...LIBRARY, 'src/record', 'src/experiment', 'src/machine'],
  'src/trial': [...LIBRARY, 'src/record', 'src/experiment'],
  'src/squeak': ['src'],
  'src/hosts': ['src', 'src/record', 'src/experiment', 'src/guard', 'src/machine', 'src/run', 'src/squeak'],
  'src/report': ['src', 'src/record'],
  'src/campaign': ['src', 'src/record', 'src/callout', 'src/machine', 'src/guard', 'src/run', 'src/report'],
  'src/cli': [
    ...LIBRARY,
    'src/record',
    'src/experiment',
    'src/run',
    'src/machine',
    'src/guard',
    'src/report',

    'src/campaign',
    'src/hosts',
    'src/squeak',
  ],
  experiments: [...LIBRARY, 'src/record', 'src/experiment'],
};
/** Scripts may start and import whatever was built, except tests. */
const mayImport = (here: string, there: string, file: string): boolean =>
  here === 'scripts'
    ? there !== 'test'
    : (MAY_IMPORT[here] ?? []).some((name) => name === there || name === file.replace(/js$/, 'ts'));

/** The folder of MAY_IMPORT that a file belongs to. */
function folderOf(path: string): string {
  const [top = '', second = ''] = path.split('/');
  return top === 'src' && !second.includes('.') ? `src/${second}` : top;
}

/** What a module imports, its types too: import, export from, import() and require() of a name that is written out. */
function importsOf(path: string): readonly string[] {
  const text = readFileSync(join(PROJECT_ROOT, path), 'utf8');
  const names = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  // scripts import what was built, by a path put together
  return path.startsWith('scripts/')
    ? [...names, ...[...text.matchAll(/'dist', '(\w+)', '(\w+)'/g)].map(([, top, folder]) => `../${top}/${folder}/x`)]
    : names;
}

const files = ['src', 'experiments', 'scripts'].flatMap((top) =>
  readdirSync(join(PROJECT_ROOT, top), { recursive: true, encoding: 'utf8' })
    .map((name) => `${top}/${name.split(sep).join('/')}`)
    .filter((path) => /\.[cm]?[jt]s$/.test(path))
    // programs as a user has them, and what runs koffi's own tests
    .filter((path) => !/^(experiments\/hosts\/\w+\/|scripts\/host-tests\/koffi\.mjs$)/.test(path)),
);
const arrows = files.flatMap((from) => importsOf(from).map((name) => ({ from, name })));

t.test('no arrow between folders but those of the table', (t) => {
  const forbidden = arrows.flatMap(({ from, name }) => {
    if (!name.startsWith('.')) return [];
    const to = posix.join(posix.dirname(from), name).replace(/^dist\//, '');
    const [here, there] = [folderOf(from), folderOf(to)];
    return here === there || mayImport(here, there, to) ? [] : [`${here} -> ${there}: ${from} imports ${name}`];
  });
  t.same(forbidden, []);
  t.ok(arrows.length > 500, `${arrows.length} imports were seen`);
  t.end();
});

t.test('every folder of src is in the table', (t) => {
  t.same(
    [...new Set(files.map(folderOf))].filter((folder) => folder !== 'scripts' && MAY_IMPORT[folder] === undefined),
    [],
  );
  t.end();
});

t.test('the list of mechanisms, which records and reports read, loads nothing', (t) => {
  t.same(importsOf('src/image/mechanism.ts'), []);
  t.end();
});

t.test('one module imports koffi', (t) => {
  t.same(
    arrows.flatMap(({ from, name }) => (name === 'koffi' ? [from] : [])),
    ['src/callout/koffi.ts'],
  );
  t.end();
});

/** Source files with their texts, by folder; nothing that was built, installed or recorded. */
const sources = ['src', 'native', 'test', 'experiments', 'examples', 'scripts'].flatMap((top) =>
  readdirSync(join(PROJECT_ROOT, top), { recursive: true, encoding: 'utf8' })
    .map((name) => `${top}/${name.split(sep).join('/')}`)
    .filter((path) => /\.([cm]?[jt]s|c|h|cc|cpp|S|java)$/.test(path) && !path.includes('/node_modules/'))
    .map((path) => ({ path, lines: readFileSync(join(PROJECT_ROOT, path), 'utf8').split('\n').slice(0, -1) })),
);
const MOST_LINES = 400;
/** Where a file may be longer, if it says why among its first lines. */
const MAY_BE_LONG =
  /^(native\/trap\/gate_\w+\.S|native\/test\/.*|test\/.*|experiments\/.*|examples\/.*|scripts\/(setup|test)\.mjs)$/;

t.test('no file of more than 400 lines, but gates, tests, content and two scripts that say why', (t) => {
  const long = sources.filter(({ lines }) => lines.length > MOST_LINES);
  t.same(
    long.flatMap(({ path, lines }) =>
      MAY_BE_LONG.test(path) && /More than 400\s+(?:[*/]+\s*)?lines: /.test(lines.slice(0, 30).join('\n'))
        ? []
        : [`${path}: ${lines.length} lines`],
    ),
    [],
  );
  t.ok(sources.length > 600, `${sources.length} files were seen`);
  t.end();
});

t.test('the median file has fewer than 120 lines', (t) => {
  const lengths = sources.map(({ lines }) => lines.length).sort((a, b) => a - b);
  t.ok((lengths[Math.floor(lengths.length / 2)] ?? Infinity) < 120);
  t.end();
});
