/**
 * docs/invariants.md holds the rules that code and tests cite by number. Every number cited exists. Every rule is cited
 * by code and by a test. Every file, function and test that the page names exists, and cites the rule. No file refers
 * to a page that is not in the repository.
 *
 * Broken once, each: a rule's heading removed; a test's name on the page misspelt; the only citations of I8 in tests
 * removed; a comment that refers to docs/nowhere.md.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';

const PAGE = 'docs/invariants.md';
const FOLDERS = ['.github', 'cmake', 'docs', 'examples', 'experiments', 'native', 'scripts', 'src', 'test'];
const TEXT = /\.(c|cc|cpp|h|S|ts|cts|mjs|cmake|md|yml|in|txt|lua)$/;
/** This test names what it looks for, and recorded runs say what was true when they were recorded. */
const LEFT_OUT = ['test/docs/invariants.test.ts', 'test/fixtures'];
/** Notes that are kept outside the repository. */
const ELSEWHERE =
  /\b(?:FACTS|DESIGN|HOUSE|STYLE)(?:\.md| in | of | asks | says )|\bsee (?:FACTS|DESIGN|HOUSE|STYLE)\b|\bissue #?\d+\b/;

interface Source {
  readonly path: string;
  readonly text: string;
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(inProject(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && TEXT.test(entry.name))
    .map((entry) => relative(inProject('.'), join(entry.parentPath, entry.name)));
}

const atTop = readdirSync(inProject('.'), { withFileTypes: true })
  .filter((entry) => entry.isFile() && TEXT.test(entry.name))
  .map(({ name }) => name);
const sources: readonly Source[] = [
  ...FOLDERS.filter((name) => existsSync(inProject(name))).flatMap(filesBelow),
  ...atTop,
  'results/README.md',
]
  .filter((path) => !LEFT_OUT.some((left) => path.startsWith(left)))
  .map((path) => ({ path, text: readFileSync(inProject(path), 'utf8') }));

/** The numbers, such as I5, that a text cites. */
const cited = (text: string): ReadonlySet<string> => new Set(text.match(/\b[IF](?:[1-9]|1[0-9])\b/g) ?? []);
const isTest = (path: string): boolean => /^(native\/)?test\//.test(path);
const isPage = (path: string): boolean => path.endsWith('.md');
const byNumber = (a: string, b: string): number => Number(a.slice(1)) - Number(b.slice(1));

const page = readFileSync(inProject(PAGE), 'utf8');
const rules = [...page.matchAll(/^## (I\d+)\. .*\n([\s\S]*?)(?=^## )/gm)].map(([, number = '', text = '']) => ({
  number,
  text,
}));
const facts = [...page.matchAll(/^\| (F\d+) \|/gm)].map(([, number = '']) => number);

t.test('the rules and the facts are numbered without gaps', (t) => {
  t.same(
    rules.map(({ number }) => number),
    Array.from({ length: 13 }, (_, index) => `I${index + 1}`),
  );
  t.same(
    facts,
    Array.from({ length: facts.length }, (_, index) => `F${index + 1}`),
  );
  t.end();
});

t.test('every number that is cited anywhere is on the page', (t) => {
  const known = new Set([...rules.map(({ number }) => number), ...facts]);
  t.ok(sources.length > 300, `${sources.length} files were searched`);
  for (const { path, text } of sources)
    for (const number of cited(text))
      if (!known.has(number)) t.fail(`${path} cites ${number}, which ${PAGE} does not have`);
  t.end();
});

t.test('every rule is cited by code and by a test, every fact by code or a test', (t) => {
  const inCode = new Set(
    sources.filter(({ path }) => !isTest(path) && !isPage(path)).flatMap(({ text }) => [...cited(text)]),
  );
  const inTests = new Set(sources.filter(({ path }) => isTest(path)).flatMap(({ text }) => [...cited(text)]));
  for (const { number } of rules) {
    t.ok(inCode.has(number), `${number} is cited by code`);
    t.ok(inTests.has(number), `${number} is cited by a test`);
  }
  for (const number of facts) t.ok(inCode.has(number) || inTests.has(number), `${number} is cited`);
  t.end();
});

/** The part of a rule's text that begins with a bold word, up to the next. */
function part(text: string, name: string): string {
  return new RegExp(`^- \\*\\*${name}\\.\\*\\*([\\s\\S]*?)(?=^- \\*\\*|$(?![\\s\\S]))`, 'm').exec(text)?.[1] ?? '';
}

for (const { number, text } of rules)
  t.test(`${number}: the page says all of it, and what it names exists and cites it`, (t) => {
    for (const name of ['Rule', 'Reason', 'Enforced in', 'Tests', 'Broken once']) t.match(part(text, name), /\w/, name);
    for (const name of ['Enforced in', 'Tests']) {
      const places = [...part(text, name).matchAll(/`([^`:]+)(?::([^`]+))?`/g)];
      t.ok(places.length > 0, name);
      for (const [, path = '', symbol] of places) {
        const source = sources.find((each) => each.path === path);
        t.ok(source, `${path} exists`);
        if (source === undefined) continue;
        t.ok(cited(source.text).has(number), `${path} cites ${number}`);
        if (symbol === undefined) continue;
        const pattern = name === 'Tests' ? `CHECK_TEST\\(\\s*${symbol},` : `\\b${symbol}\\b`;
        t.match(source.text, new RegExp(pattern), `${path} has ${symbol}`);
      }
    }
    for (const path of [...text.matchAll(/`([\w./-]+\/[\w.-]+\.\w+)[:`]/g)].map(([, each = '']) => each))
      t.ok(existsSync(inProject(path)), `${path} exists`);
    t.end();
  });

t.test('the numbers on the page run in order, and each test that is named for a rule cites a rule that exists', (t) => {
  const numbers = [...cited(page)].filter((each) => each.startsWith('I')).sort(byNumber);
  t.same(
    numbers,
    rules.map(({ number }) => number),
  );
  t.end();
});

t.test('no file refers to a page that is not in the repository', (t) => {
  for (const { path, text } of sources) {
    for (const [reference] of text.matchAll(/\b(?:docs|results|examples)\/[\w./-]+\.md\b/g))
      t.ok(
        existsSync(inProject(reference)) || existsSync(inProject(normalize(join(dirname(path), reference)))),
        `${path}: ${reference}`,
      );
    t.notMatch(text, ELSEWHERE, path);
  }
  t.end();
});
