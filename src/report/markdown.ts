/**
 * report.md and evidence.md: everything that the page says, for a repository. Of the charts, report.md has the main
 * picture; the others are tables alone. What figures and verdicts rest on, line by line, is evidence.md.
 */
import { evidenceLine } from './findings/evidence.js';
import type { Findings } from './findings/index.js';
import { columnOf, verdictText } from './findings/records.js';
import { type Block, type Section, tables } from './findings/sections.js';
import { type Cell, cellPlain, cellText, cellTone, left, type Table, words } from './findings/table.js';
import type { Text } from './findings/text.js';

/** Text that Markdown takes for nothing else, in one line. */
function escape(text: string): string {
  return text
    .replace(/\\/g, '\\\\')
    .replace(/\|/g, '\\|')
    .replace(/</g, '&lt;')
    .replace(/\s*\n\s*/g, ' ');
}

/** How Markdown is made where documents differ. */
export interface MarkdownStyle {
  /** Where a link of the project leads, seen from the document; null where it is a name alone. */
  readonly link: (to: string) => string | null;
  /** Tables have headings of their own. */
  readonly titles: boolean;
}

const REPORT_STYLE: MarkdownStyle = { link: (to) => to, titles: true };

/** Text with emphasis. Links within a page are words: a document has other anchors. */
export function markdownText(text: Text, style: MarkdownStyle = REPORT_STYLE): string {
  if (typeof text === 'string') return escape(text);
  if ('strong' in text) return text.strong === '' ? '' : `**${escape(text.strong)}**`;
  if ('code' in text) return `\`${text.code.replaceAll('|', '\\|')}\``;
  if ('quiet' in text) return escape(text.quiet);
  if ('link' in text) {
    if (text.to.startsWith('#')) return escape(text.link);
    const target = style.link(text.to);
    return target === null ? `\`${text.link}\`` : `[${escape(text.link)}](${target})`;
  }
  return text.map((part) => markdownText(part, style)).join('');
}

function cellMarkdown(cell: Cell, style: MarkdownStyle): string {
  return cellTone(cell) === 'bad' ? `**${escape(cellPlain(cell))}**` : markdownText(cellText(cell), style);
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** A table; where rows have groups, those are its first column. Empty where it has no rows. */
function tableMarkdown({ title, columns, rows, notes }: Table, style: MarkdownStyle): readonly string[] {
  if (rows.length === 0) return [];
  const grouped = rows.some(({ group }) => group !== undefined);
  const heads = [...(grouped ? [left('group')] : []), ...columns];
  return [
    ...(style.titles ? [`### ${title}`, ''] : []),
    line(heads.map((column) => escape(column.title))),
    line(heads.map(({ align }) => (align === 'right' ? '---:' : '---'))),
    ...rows.map(({ group, cells }) =>
      line([...(grouped ? [escape(group ?? '')] : []), ...cells.map((cell) => cellMarkdown(cell, style))]),
    ),
    '',
    ...(notes.length > 0 ? [...notes.map((note) => `- ${markdownText(note, style)}`), ''] : []),
  ];
}

function factsMarkdown({ rows }: Table, style: MarkdownStyle): readonly string[] {
  return [
    ...rows.map(({ cells: [name, text] }) =>
      name === undefined || text === undefined
        ? ''
        : `- **${cellMarkdown(name, style)}**: ${cellMarkdown(text, style)}`,
    ),
    '',
  ];
}

function blockMarkdown(block: Block, style: MarkdownStyle): readonly string[] {
  switch (block.kind) {
    case 'text':
      return [markdownText(block.text, style), ''];
    case 'list':
      return [...block.items.map((item) => `- ${markdownText(item, style)}`), ''];
    case 'surprises':
      return [
        ...block.surprises.flatMap(({ title, lines }) => [
          `- **${escape(title)}**`,
          ...lines.map((each) => `  - ${escape(each)}`),
        ]),
        '',
      ];
    case 'verdicts':
      return [
        'A bold cell is one in which the image, or the host, did not come through. `!` was not expected; `?` ' +
          'differed between repetitions.',
        '',
      ];
    case 'table':
      return block.table.layout === 'facts' ? factsMarkdown(block.table, style) : tableMarkdown(block.table, style);
    case 'heading':
      // A table's own title says what a heading before it would.
      return style.titles ? [] : [`### ${escape(block.text)}`, ''];
    // Charts and their keys are the page's: their figures are in tables.
    case 'charts':
    case 'parts':
    case 'mechanisms':
      return [];
  }
}

/** Blocks as lines. */
export const markdownBlocks = (blocks: readonly Block[], style: MarkdownStyle = REPORT_STYLE): readonly string[] =>
  blocks.flatMap((block) => blockMarkdown(block, style));

const sectionMarkdown = ({ title, blocks }: Pick<Section, 'title' | 'blocks'>): readonly string[] => [
  `## ${title}`,
  '',
  ...markdownBlocks(blocks),
];

/** The evidence of all cells, a line each. */
function evidenceTable({ evidence }: Findings): Table {
  return {
    id: 'evidence',
    title: 'Evidence',
    columns: ['case', 'mechanism', 'lane', 'verdict', 'expected', 'evidence'].map(left),
    rows: evidence.map((cell) => {
      const { record } = cell;
      return {
        cells: [
          record.case,
          columnOf(record),
          record.lane,
          verdictText(record),
          record.expected.verdicts.join(' or '),
          evidenceLine(cell),
        ].map((text) => words(text)),
      };
    }),
    notes: [],
  };
}

const isEvidence = (block: Block): boolean => block.kind === 'table' && block.table.evidence === true;

/**
 * The report as Markdown, without its evidence. `pictureFile`, `evidenceFile`: the names of the main picture's file and
 * of the evidence's beside it.
 */
export function renderMarkdown(found: Findings, pictureFile = 'cost.svg', evidenceFile = 'evidence.md'): string {
  const { answer, picture, sections } = found;
  return [
    '# Turnkey: what protection keys prevent around foreign calls, and what they cost',
    '',
    ...answer.flatMap(({ about, text }) => [`**${about}.** ${markdownText(text)}`, '']),
    ...(picture.panels.length === 0 ? [] : [`![${picture.title}](${pictureFile})`, '']),
    ...markdownBlocks(tables(...picture.tables)),
    ...sections.flatMap(({ title, blocks }) =>
      sectionMarkdown({ title, blocks: blocks.filter((block) => !isEvidence(block)) }),
    ),
    'Made by `turnkey report` from run.json alone. All samples are there, and in report.html. The command writes ' +
      `\`${evidenceFile}\` beside this file: interval and outliers of every cost, the evidence of every verdict.`,
    '',
  ].join('\n');
}

/** What the report's figures and verdicts rest on, as Markdown: a line for each cost, then for each cell. */
export function renderEvidence(found: Findings): string {
  const costs = found.tables.filter(({ evidence }) => evidence === true);
  return [
    '# Turnkey: what the figures and the verdicts of a run rest on',
    '',
    ...markdownBlocks(tables(...costs, evidenceTable(found))),
    'Made by `turnkey report` from run.json alone.',
    '',
  ].join('\n');
}
