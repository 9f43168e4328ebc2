/**
 * Recorded figures in documents. A table stands between two comments that name it, and is written whole:
 *
 *   <!-- begin figures: verdicts -->
 *   …
 *   <!-- end figures -->
 *
 * A figure in a sentence is marked by itself: `<!--= KEY -->text<!--/-->`. Keys are described in figures.ts.
 */
import { readFileSync, writeFileSync } from 'node:fs';

import { inProject } from '../record/paths.js';
import { type Figures } from './figures.js';
import { left, type Table, words } from './findings/table.js';
import { markdownBlocks } from './markdown.js';

/** The documents that have such figures. */
export const DOCUMENTS: readonly string[] = ['docs/porting.md', 'README.md', 'docs/lua.md'];

/** A row: what it is about, and a key, or words, for each column. */
type FigureRow = readonly [string, ...(string | { readonly words: string })[]];

interface FigureTable {
  readonly columns: readonly string[];
  readonly rows: readonly FigureRow[];
}

const verdicts = (label: string, name: string, mechanisms: readonly string[]): FigureRow => [
  label,
  ...mechanisms.map((mechanism) => `reference verdict ${name} ${mechanism} emulated`),
];
const costs = (label: string, row: string, mechanisms: readonly string[], bytes: number): FigureRow => {
  const [experiment, lane] = row.split(' ');
  return [
    label,
    ...mechanisms.map((mechanism) => `reference cost ${experiment ?? ''} ${mechanism} ${lane ?? ''} ${bytes}`),
  ];
};

const ALL = ['none', 'flag', 'mprotect-range', 'pkeys'] as const;
const GUARDED = ['flag', 'mprotect-range', 'pkeys'] as const;
const NO_KEYS = { words: 'this CPU has no keys' };
const [SMALL, LARGE] = [64 << 10, 64 << 20];
const LUA_PROGRAMS = [
  'binary-trees',
  'strings',
  'spectral-norm',
  'callouts-10',
  'callouts-10000',
  'callouts-1000000',
  'callbacks',
  'checksums',
] as const;

/** The tables by name. */
const TABLES: Readonly<Record<string, FigureTable>> = {
  verdicts: {
    columns: ['', 'nothing', 'trap alone (`flag`)', '`mprotect-range`', '`pkeys`'],
    rows: [
      verdicts('a wild write into the image', 'wild-write', ALL),
      verdicts('a pointer kept from an earlier callout', 'retained-pointer', ALL),
      verdicts('a null pointer', 'null-pointer', ALL),
      verdicts("a stray write into malloc's heap", 'malloc-heap', ALL),
      verdicts('the callee executes WRPKRU', 'wrpkru', ALL),
      costs('one guarded callout, image of 64 KiB, counted (emulated)', 'callout emulated', ALL, SMALL),
      costs('the same, 64 MiB', 'callout emulated', ALL, LARGE),
      [...costs('the same, 64 MiB, timed (native)', 'callout native', ALL.slice(0, 3), LARGE), NO_KEYS],
    ],
  },
  porting: {
    columns: ['', 'trap alone (`flag`)', '`mprotect-range`', '`pkeys`'],
    rows: [
      verdicts('a wild store into the image', 'wild-write', GUARDED),
      verdicts('a null pointer', 'null-pointer', GUARDED),
      verdicts('read(2) into the image', 'read-into', GUARDED),
      verdicts("a store into malloc's heap", 'malloc-heap', GUARDED),
      costs('one callout, image of 64 KiB, counted', 'callout emulated', GUARDED, SMALL),
      costs('the same, 64 MiB, counted', 'callout emulated', GUARDED, LARGE),
      [...costs('the same, 64 MiB, timed', 'callout native', GUARDED.slice(0, 2), LARGE), NO_KEYS],
      costs('a fault, recovered, counted', 'fault emulated', GUARDED, SMALL),
    ],
  },
  'lua-programs': {
    columns: [
      'program',
      '`flag`, timed',
      '`mprotect-range`, timed',
      '`flag`, counted',
      '`mprotect-range`, counted',
      '`pkeys`, counted',
    ],
    rows: LUA_PROGRAMS.map((program): FigureRow => [
      `\`${program}\``,
      ...['flag native', 'mprotect-range native', 'flag emulated', 'mprotect-range emulated', 'pkeys emulated'].map(
        (row) => `reference ratio lua-programs ${row} program=${program}`,
      ),
    ]),
  },
};

const MARK = /<!--= (.+?) -->([^<]*)<!--\/-->/g;
const BLOCK = /<!-- begin figures: (\S+) -->\n[\s\S]*?<!-- end figures -->/g;

function tableText(name: string, figures: Figures): string {
  const table = TABLES[name];
  if (table === undefined) throw new Error(`there is no table of figures '${name}'`);
  const value: Table = {
    id: name,
    title: name,
    columns: table.columns.map(left),
    rows: table.rows.map(([label, ...cells]) => ({
      cells: [
        words(label),
        ...cells.map((cell) => words(typeof cell === 'string' ? figures.recorded(cell) : cell.words)),
      ],
    })),
    notes: [],
  };
  return markdownBlocks([{ kind: 'table', table: value }], { link: (to) => to, titles: false })
    .join('\n')
    .trimEnd();
}

/** A document with its figures as the records say. */
export function withFigures(text: string, figures: Figures): string {
  return text
    .replace(
      BLOCK,
      (_, name: string) => `<!-- begin figures: ${name} -->\n\n${tableText(name, figures)}\n\n<!-- end figures -->`,
    )
    .replace(MARK, (_, key: string) => `<!--= ${key} -->${figures.recorded(key)}<!--/-->`);
}

/** Writes the recorded figures into all documents. */
export function writeFigures(figures: Figures): void {
  for (const document of DOCUMENTS) {
    const path = inProject(document);
    writeFileSync(path, withFigures(readFileSync(path, 'utf8'), figures));
  }
}

/** Figures with a unit that stand outside of marks, tables of figures and code. */
export function unmarked(text: string): readonly string[] {
  const prose = text
    .replace(BLOCK, '')
    .replace(MARK, '')
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, '');
  return prose.match(/\b\d[\d,.]*\s*(?:ns|µs|us|ms|instructions?|instr\.|cycles|times|%|percent)(?![\w])/g) ?? [];
}
