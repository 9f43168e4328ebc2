/** What is left when a guard is hardened in every way. A pure function of a run with hardened cells. */
import type { CorruptionRecord, Run } from '../../record/records.js';
import { needsKeys, type Verdict } from '../../record/words.js';
import { byCase, nameOf, seenText } from './limit-words.js';
import { cellsOf, lanesOf, recordedIn } from './records.js';
import { type Section, tables, text } from './sections.js';
import { left, type Table, words } from './table.js';

/** Verdicts that leave the image and the process as they were. */
const HELD: readonly Verdict[] = ['prevented', 'refused', 'trapped', 'harmless'];

/** Held by a hardware breakpoint, which not everybody may set. */
const isWatched = ({ evidence }: CorruptionRecord): boolean => evidence.fault?.siCodeName === 'TRAP_PERF';
const WATCHED_WHERE =
  'a hardware breakpoint stops it only where perf_event_open is allowed: kernel.perf_event_paranoid at most 2, root, ' +
  'or CAP_PERFMON; elsewhere the image is written';

function whyLeft(record: CorruptionRecord): string {
  if (isWatched(record)) return WATCHED_WHERE;
  return record.surprise ? record.evidence.because : record.expected.why;
}

function leftTable(open: readonly CorruptionRecord[], all: readonly CorruptionRecord[]): Table {
  return {
    id: 'left',
    title: 'What is left',
    columns: ['case', 'what foreign code does', 'seen', 'why', 'what would help'].map(left),
    rows: byCase(open).map(([first]) => ({
      cells: [
        nameOf(first),
        first.summary ?? '',
        seenText(all.filter((record) => record.case === first.case)),
        whyLeft(first),
        first.remedy?.text ?? '',
      ].map((content) => words(content)),
    })),
    notes: [],
  };
}

/** Counts of verdicts, the most frequent first: 20 refused, 3 damaged. */
function tally(records: readonly CorruptionRecord[]): string {
  const counts = new Map<Verdict, number>();
  for (const { verdict } of records) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(', ');
}

/** Cells under keys that are hardened in every way. */
export const everythingOn = (run: Run): readonly CorruptionRecord[] =>
  cellsOf(run).filter(({ harden, mechanism }) => harden === 'all' && needsKeys(mechanism));

/** The section. */
export function hardenedSection(run: Run): Section {
  const hardened = cellsOf(run).filter(({ harden }) => harden !== undefined);
  const all = everythingOn(run);
  const lanes = lanesOf(all);
  const open = all.filter((record) => !HELD.includes(record.verdict) || isWatched(record));
  const kernels = run.context.lanes.flatMap(({ lane, kernel }) => (lanes.includes(lane) ? [kernel] : [])).join(', ');
  return {
    id: 'hardened',
    title: 'When everything is on',
    blocks: [
      text(
        `${byCase(all).length} cases were tried under keys (${lanes.join(', ')} lane) ` +
          'with the filter, sealing and the search on ' +
          `(Linux ${kernels}, ${recordedIn(run, lanes)}): ${tally(all)}. These are left` +
          `${open.some(isWatched) ? ', or stopped on some systems only' : ''}; ` +
          'what was not expected is a defect, no limit:',
      ),
      ...tables(leftTable(open, hardened)),
    ],
  };
}
