/**
 * Every rule of .oxlintrc.jsonc is there and finds what it is for. A release of oxlint may drop a rule or call it
 * something else, and some of its rules are still young. The rule that is asked for beside it is held to the same.
 * Broken once: a rule taken out of .oxlintrc.jsonc; one turned off; an option that lets all through; `typeAware` false;
 * another rule's name asked for in scripts/tsgolint.mjs. Each was named.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';
import ts from 'typescript';

import { inProject } from '../../src/record/paths.js';
import { ownFolder } from '../support/turnkey.js';
import { JAVASCRIPT, TYPESCRIPT } from './violations.js';

/** Asked for beside oxlint. */
const INSTANCES = 'typescript/no-unsafe-class-instance-assignment';

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
}
interface Planted {
  readonly rule: string;
  readonly file: string;
  readonly text: string;
}

const folder = ownFolder();
// by name: a linter that searches the folder follows the link to node_modules
const run = (program: string, ...args: string[]): string =>
  spawnSync(program, args, { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 26 }).stdout;

const plant = (extension: string, violations: Readonly<Record<string, readonly string[]>>): readonly Planted[] =>
  Object.entries(violations).flatMap(([rule, texts]) =>
    texts.map((text, at) => ({ rule, file: `${rule.replaceAll('/', '-')}-${at}.${extension}`, text })),
  );
const planted = [...plant('ts', TYPESCRIPT), ...plant('mjs', JAVASCRIPT)];

for (const { file, text } of planted) writeFileSync(join(folder, file), `${text}\n`);
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
writeFileSync(
  join(folder, 'tsconfig.json'),
  JSON.stringify({
    extends: inProject('tsconfig.json'),
    compilerOptions: { rootDir: '.' },
    include: ['*.ts', '*.mjs'],
    exclude: [],
  }),
);
symlinkSync(inProject('node_modules'), join(folder, 'node_modules'));

t.test('there is a violation of each rule that is on, and of no other', (t) => {
  const path = inProject('.oxlintrc.jsonc');
  const { config } = ts.parseConfigFileTextToJson(path, readFileSync(path, 'utf8')) as {
    readonly config: {
      readonly rules: object;
      readonly overrides: readonly { readonly rules: object }[];
    };
  };
  const on = [config, ...config.overrides].flatMap(({ rules }) =>
    Object.entries(rules).flatMap(([rule, setting]) => (setting === 'off' ? [] : [rule])),
  );
  t.same([...new Set(planted.map(({ rule }) => rule))].sort(), [...new Set([...on, INSTANCES])].sort());
  t.end();
});

t.test('each violation is found', (t) => {
  const config = inProject('.oxlintrc.jsonc');
  const out = run(
    inProject('node_modules/.bin/oxlint'),
    '-c',
    config,
    '--format',
    'json',
    ...planted.map(({ file }) => file),
  );
  const { diagnostics } = JSON.parse(out) as { readonly diagnostics: readonly Diagnostic[] };
  const found = new Set(diagnostics.map(({ code, filename }) => `${filename}: ${code}`));
  const missed = planted.filter(
    ({ rule, file }) => rule !== INSTANCES && !found.has(`${file}: ${rule.replace(/\/(.*)/, '($1)')}`),
  );
  t.same(missed, []);
  t.end();
});

t.test('what oxlint does not offer is found beside it', (t) => {
  const files = planted.filter(({ rule }) => rule === INSTANCES).map(({ file }) => file);
  const out = run(process.execPath, inProject('scripts/tsgolint.mjs'), INSTANCES.replace('typescript/', ''), ...files);
  for (const file of files) t.match(out, `${file}:2:23: This object literal is used where an instance of class`);
  t.end();
});
