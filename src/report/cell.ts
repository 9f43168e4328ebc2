/** One cell of the corruption matrix with all its evidence, to be read in a terminal. */
import type { CorruptionRecord } from '../record/records.js';
import { evidenceOf } from './findings/evidence.js';
import { plainText } from './findings/text.js';

/** The text; ends with a line break. A pure function of the record. */
export function renderCell(record: CorruptionRecord): string {
  const { title, about, facts, stderr } = evidenceOf(record);
  const rows = [...facts, ...(stderr === '' ? [] : [{ name: 'stderr', texts: [stderr] }])];
  const width = Math.max(...rows.map(({ name }) => name.length));
  const indent = `\n  ${' '.repeat(width)}  `;
  const lines = rows.flatMap(({ name, texts }) =>
    texts.map((text, at) => `  ${(at === 0 ? name : '').padEnd(width)}  ${plainText(text).replaceAll('\n', indent)}\n`),
  );
  return `${title}, ${about}\n${lines.join('')}`;
}
