/** What single records say, and which of them belong together. Pure functions of a run's records. */
import type {
  CorruptionRecord,
  CostRecord,
  DiffEvidence,
  HonestRecord,
  Run,
  SkippedRecord,
} from '../../record/records.js';
import { type Hardened, type Lane, LANES, type Mechanism, MECHANISMS, type Verdict } from '../../record/words.js';
import type { Tone } from './table.js';

/** All cells. */
export const cellsOf = (run: Run): readonly CorruptionRecord[] =>
  run.records.filter((record) => record.kind === 'corruption');
/** Cells under the mechanisms as they are. */
export const corruptionOf = (run: Run): readonly CorruptionRecord[] =>
  cellsOf(run).filter(({ harden }) => harden === undefined);
export const honestOf = (run: Run): readonly HonestRecord[] => run.records.filter((record) => record.kind === 'honest');
export const costsOf = (run: Run): readonly CostRecord[] => run.records.filter((record) => record.kind === 'cost');
export const skippedOf = (run: Run): readonly SkippedRecord[] =>
  run.records.filter((record) => record.kind === 'skipped');

/** Which run it is; where records of some lanes were made at several times, that the report says which. */
export function recordedIn({ context }: Run, lanes: Iterable<Lane>): string {
  const among = new Set(lanes);
  const parts = context.lanes.flatMap(({ lane, details }) =>
    among.has(lane) ? (details['parts']?.split('; ') ?? []) : [],
  );
  return parts.length > 1
    ? `recorded in ${parts.length} parts, see the report's environment`
    : `run of ${context.started}, commit ${context.commit ?? 'unknown'}`;
}

/** Those of a list's words that are there, in the list's order. */
export function inOrder<T>(order: readonly T[], present: Iterable<T>): readonly T[] {
  const set = new Set(present);
  return order.filter((word) => set.has(word));
}

export const lanesOf = (records: readonly { readonly lane: Lane }[]): readonly Lane[] =>
  inOrder(
    LANES,
    records.map(({ lane }) => lane),
  );
export const mechanismsOf = (records: readonly { readonly mechanism: Mechanism }[]): readonly Mechanism[] =>
  inOrder(
    MECHANISMS,
    records.map(({ mechanism }) => mechanism),
  );

/** Verdicts under which the image came through and the VM goes on. */
export const GOOD: ReadonlySet<Verdict> = new Set(['prevented', 'refused', 'trapped', 'harmless']);

/** The process died, and its image differed. */
export const diedDamaged = ({ verdict, evidence }: CorruptionRecord): boolean =>
  verdict === 'crashed' && evidence.process.imageAtDeath === 'differs';

/** Good: the VM came through. Neutral: the process died with its image equal. Bad: the rest. */
export function toneOf(record: CorruptionRecord): Tone {
  if (GOOD.has(record.verdict)) return 'good';
  return record.verdict === 'crashed' && record.evidence.process.imageAtDeath === 'equal' ? 'neutral' : 'bad';
}

/** A verdict with what belongs to it: whether damage was announced, whether the image differed at death. */
export function outcomeText(record: CorruptionRecord): string {
  if (record.verdict === 'damaged' && record.announced === true) return 'damaged, announced';
  return diedDamaged(record) ? 'crashed, image differs' : record.verdict;
}

/** A verdict in a cell: marked ! where it was not expected, ? where repetitions differ. */
export function verdictText(record: CorruptionRecord): string {
  return `${outcomeText(record)}${record.surprise ? ' !' : ''}${record.unstable ? ' ?' : ''}`;
}

/** What a record's mechanism was varied by; empty for writes denied by one key. */
export function variantOf({ deny, keys }: CorruptionRecord): string {
  return [...(deny === 'access' ? ['no access'] : []), ...(keys === 'space' ? ['key per space'] : [])].join(', ');
}

/** A mechanism with how it was hardened: pkeys+filter. */
export function hardenedName({
  mechanism,
  harden,
}: Pick<CorruptionRecord, 'mechanism'> & { readonly harden?: Hardened | undefined }): string {
  return harden === undefined ? mechanism : `${mechanism}+${harden}`;
}

/** A column of the matrix: a mechanism with what it was varied by. */
export function columnOf(record: CorruptionRecord): string {
  const variant = variantOf(record);
  const mechanism = hardenedName(record);
  return variant === '' ? mechanism : `${mechanism}, ${variant}`;
}

/** The columns there are, in the order of mechanisms; each with its mechanism. */
export function columnsOf(
  records: readonly CorruptionRecord[],
  more: readonly Mechanism[] = [],
): readonly { readonly column: string; readonly mechanism: Mechanism }[] {
  const columns = new Map<string, Mechanism>(more.map((mechanism) => [mechanism, mechanism]));
  for (const record of records) columns.set(columnOf(record), record.mechanism);
  return [...columns]
    .map(([column, mechanism]) => ({ column, mechanism }))
    .sort(
      (a, b) => MECHANISMS.indexOf(a.mechanism) - MECHANISMS.indexOf(b.mechanism) || (a.column < b.column ? -1 : 1),
    );
}

/** A changed range, by the object that holds it where the space is a heap that could be walked. */
export function rangeText({ space, offset, bytes, object }: DiffEvidence['ranges'][number]): string {
  const where = `'${space}' +0x${offset.toString(16)}, ${bytes} bytes`;
  if (object === undefined) return where;
  const part = object.slot === null ? 'the header' : `slot ${object.slot}`;
  return (
    `${where}: ${part} of ${object.isFree ? 'a free chunk' : 'the object'} at ` +
    `+0x${object.offset.toString(16)} (class index ${object.classIndex}, ${object.bytes} bytes)`
  );
}

/** A lane with its kernel, and whether it has keys. */
export function laneTitle(run: Run, lane: Lane): string {
  const context = run.context.lanes.find((candidate) => candidate.lane === lane);
  return context === undefined
    ? `${lane} lane`
    : `${lane} lane (Linux ${context.kernel}${context.keys ? ', protection keys' : ', no protection keys'})`;
}
