/** How cases, columns and verdicts are told where limits are. Pure functions of records. */
import type { CorruptionRecord } from '../../record/records.js';
import { caseFile } from '../../record/words.js';
import { columnOf, diedDamaged } from './records.js';
import { joined, type Text } from './text.js';

/** A verdict with what qualifies it. */
export function verdictWords(record: CorruptionRecord): string {
  const more =
    record.verdict === 'damaged'
      ? record.announced === true
        ? ', announced'
        : ', silently'
      : diedDamaged(record)
        ? ', image differs'
        : '';
  const { verdict, surprise, unstable, repetitions } = record;
  const trials = unstable ? ` (of ${repetitions.length} trials: ${repetitions.join(', ')})` : '';
  return `${verdict}${more}${surprise ? ' (not expected)' : ''}${trials}`;
}

/** The columns of some of a case's records; a mechanism that is there in all its variants by its own name. */
export function columnsText(some: readonly CorruptionRecord[], all: readonly CorruptionRecord[]): Text {
  const columns = (list: readonly CorruptionRecord[], mechanism: string): ReadonlySet<string> =>
    new Set(list.filter((record) => record.mechanism === mechanism).map(columnOf));
  const names = new Map(
    some.map((record): readonly [string, Text] => {
      const variants = columns(all, record.mechanism).size;
      const isWhole = record.harden === undefined && variants > 1 && columns(some, record.mechanism).size === variants;
      const name = isWhole ? record.mechanism : columnOf(record);
      return [`${name}/${String(isWhole)}`, isWhole ? [{ code: name }, ' in each variant'] : { code: name }];
    }),
  );
  return joined([...names.values()], ', ');
}

/** Columns with the same verdict stand together. */
export function seenText(records: readonly CorruptionRecord[]): Text {
  const byVerdict = new Map<string, CorruptionRecord[]>();
  for (const record of records)
    byVerdict.set(verdictWords(record), [...(byVerdict.get(verdictWords(record)) ?? []), record]);
  return joined(
    [...byVerdict].map(([verdict, same]) => [`${verdict}: `, columnsText(same, records)]),
    '; ',
  );
}

/** The records of each case, in the order in which cases come. */
export function byCase(
  records: readonly CorruptionRecord[],
): readonly (readonly [CorruptionRecord, ...CorruptionRecord[]])[] {
  const groups = new Map<string, [CorruptionRecord, ...CorruptionRecord[]]>();
  for (const record of records) {
    const group = groups.get(record.case);
    if (group === undefined) groups.set(record.case, [record]);
    else group.push(record);
  }
  return [...groups.values()];
}

/** A case, as a link to its source. */
export const nameOf = (record: CorruptionRecord): Text => ({
  link: record.case,
  to: caseFile(record.group, record.case),
});
