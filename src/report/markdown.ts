/** report.md: the same content as the terminal's tables, for a repository. A pure function of a run. */
import type { CorruptionRecord, Run } from '../experiment/records.js';
import { columnOf, corruptionOf, costTable, environment, honestTable, matrices, skippedTable, summary, surprises, totals, verdictText, type Table } from './model.js';

/** Text in a table's cell. */
function escape(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\|/g, '\\|').replace(/</g, '&lt;').replace(/\s*\n\s*/g, ' ');
}

function table({ title, head, rows, notes, numericFrom }: Table, level: string): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    `${level} ${title}`, '', line(head.map(escape)), line(head.map((_, at) => (numericFrom !== undefined && at >= numericFrom ? '---:' : '---'))),
    ...rows.map((row) => line(row.map((cell) => (cell.tone === 'bad' ? `**${escape(cell.text)}**` : escape(cell.text))))),
    ...(notes.length > 0 ? ['', ...notes.map((note) => `- ${note}`)] : []), '',
  ].join('\n');
}

function evidenceLine(record: CorruptionRecord): string {
  const { evidence } = record;
  const { fault, process, diff } = evidence;
  const parts = [
    ...(fault === null ? [] : [
      `${fault.siCodeName}, key ${fault.pkey ?? '-'}, ${fault.access} at ${fault.address}${fault.space === null ? '' : ` in '${fault.space}'`}`,
      `pc ${fault.symbol ?? fault.pc}${fault.pcModule === null ? '' : ` of ${fault.pcModule.split('/').pop() ?? ''}`}`,
    ]),
    ...(diff === null || diff.changedBytes === 0 ? [] : [`${diff.changedBytes} bytes changed, first in '${diff.ranges[0]?.space ?? '?'}' +0x${(diff.ranges[0]?.offset ?? 0).toString(16)}`]),
    ...(evidence.errno === null ? [] : [`kernel answered ${evidence.errno}`]),
    ...(process.signal === null ? [] : [`died of ${process.signal}, image ${process.imageAtDeath} at death`]),
    ...(process.timedOut ? ['past the time limit'] : []),
  ];
  return parts.join('; ') || evidence.because;
}

/** The report as Markdown. */
export function renderMarkdown(run: Run): string {
  const found = surprises(run);
  const records = corruptionOf(run);
  const evidence: Table = {
    title: 'Evidence', head: ['case', 'mechanism', 'lane', 'verdict', 'expected', 'evidence'], notes: [],
    rows: records.map((record) => [record.case, columnOf(record), record.lane, verdictText(record), record.expected.verdicts.join(' or '), evidenceLine(record)]
      .map((text) => ({ text, tone: 'plain' as const }))),
  };
  const cost = costTable(run);
  const honest = honestTable(run);
  return [
    '# Turnkey: what the keys prevent and what they cost', '',
    ...summary(run).map((sentence) => `${sentence}\n`),
    '## Surprises', '',
    ...(found.length === 0 ? ['None: every verdict was an expected one.', ''] : found.flatMap(({ title, lines }) => [`- **${title}**`, ...lines.map((line) => `  - ${line}`), ''])),
    ...matrices(run).map((one) => table(one, '##')),
    ...(records.length === 0 ? [] : [
      'A bold cell is one in which the image, or the host, did not come through. `!` was not expected; `?` differed between repetitions.', '', table(totals(run), '###'),
    ]),
    table(honest, '##'), table(cost, '##'), table(skippedTable(run), '##'), table(evidence, '##'), table(environment(run), '##'),
  ].filter((part, at, all) => part !== '' || all[at - 1] !== '').join('\n').replace(/\n{3,}/g, '\n\n');
}
