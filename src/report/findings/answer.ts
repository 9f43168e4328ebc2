/**
 * The answer in three sentences: what was prevented, what it costs, whether it grows. Every number is computed from the
 * run's records.
 */
import type { CorruptionRecord, Run } from '../../record/records.js';
import { type Lane, LANES, type Mechanism } from '../../record/words.js';
import type { Basis } from './basis.js';
import { type Cost, sizeOf } from './costs.js';
import { formatBytes, formatCount, formatNs } from './format.js';
import { modelRange } from './key-model.js';
import { columnOf, corruptionOf, diedDamaged, toneOf } from './records.js';
import { plural, someOf, type Text } from './text.js';

/** A sentence of the answer, under a word that says what it is about. */
export interface Sentence {
  readonly about: string;
  readonly text: Text;
}

const isGood = (record: CorruptionRecord): boolean => toneOf(record) === 'good';

/** Without protection, did the case do harm? */
function harms(record: CorruptionRecord): boolean {
  return ['damaged', 'disclosed', 'host-damaged'].includes(record.verdict) || diedDamaged(record);
}

/** Cases named in the sentence. */
const MOST_CASES = 4;

function preventedText(run: Run): Text {
  const all = corruptionOf(run);
  if (all.length === 0) return 'This run tried no corruption.';
  const lane = LANES.find((candidate) =>
    all.some((record) => record.lane === candidate && record.mechanism === 'pkeys'),
  );
  if (lane === undefined) return 'This run tried no protection keys: no lane of it has them.';
  const under = (mechanism: Mechanism): ReadonlyMap<string, CorruptionRecord> =>
    new Map(
      all
        .filter((record) => record.lane === lane && columnOf(record) === mechanism)
        .map((record) => [record.case, record]),
    );
  const [keys, flag] = [under('pkeys'), under('flag')];
  const harmful = [...under('none').values()]
    .filter((record) => harms(record) && keys.has(record.case))
    .map((record) => record.case);
  const stoppedBy = (records: ReadonlyMap<string, CorruptionRecord>): string =>
    String(
      harmful.filter((name) => {
        const record = records.get(name);
        return record !== undefined && isGood(record);
      }).length,
    );
  const through = [...keys.values()].filter((record) => !isGood(record)).map((record) => record.case);
  const rest: Text =
    through.length === 0
      ? ` Under keys, none of the ${plural(keys.size, 'case')} tried harmed the VM.`
      : [
          `${harmful.length === 0 ? ' Protection keys' : ' They'} did not save the VM in `,
          { strong: String(through.length) },
          ` of all ${plural(keys.size, 'case')}: ${someOf(through, MOST_CASES)} (`,
          { link: 'which, and why', to: '#matrix' },
          ').',
        ];
  if (under('none').size === 0) return ['This run tried no VM without protection.', rest];
  if (harmful.length === 0) return ['No case of this run damaged or read the memory of an unprotected VM.', rest];
  const trap: Text =
    flag.size === 0
      ? ''
      : [
          '; a signal trap without keys, which turns crashes into errors but closes nothing, stopped ',
          { strong: stoppedBy(flag) },
        ];
  return [
    `Of ${plural(harmful.length, 'way')} in which faulty foreign code damages or reads the memory of an ` +
      'unprotected VM, protection keys stopped ',
    { strong: stoppedBy(keys) },
    trap,
    '.',
    rest,
  ];
}

function bySize(cells: readonly Cost[], lane: Lane, mechanism: Mechanism): readonly Cost[] {
  return cells
    .filter((cost) => cost.lane === lane && cost.mechanism === mechanism)
    .sort((a, b) => (sizeOf(a) ?? 0) - (sizeOf(b) ?? 0));
}

/** A cost in a sentence: how it is spent, and how much. */
function spent({ unit, value }: Cost): Text {
  return unit === 'ns'
    ? ['takes ', { strong: formatNs(value) }]
    : ['executes ', { strong: `${formatCount(value)} instructions` }];
}

function rightsText({ unit, counts }: Cost): string {
  if (counts === undefined || unit === 'ns') return '';
  const calls = counts.syscalls === 0 ? 'no system call' : plural(counts.syscalls, 'system call');
  return `, ${counts.wrpkru} of them writes of the rights register, and ${calls}`;
}

function priceText({ headline, model }: Basis): Text {
  const { cells, experiment } = headline;
  const parts: Text[] = [];
  const lane = LANES.find((candidate) => bySize(cells, candidate, 'pkeys').length > 0);
  const keys = lane === undefined ? undefined : bySize(cells, lane, 'pkeys').at(-1);
  if (keys !== undefined)
    parts.push([`With keys, ${experiment?.headline?.sentence ?? ''} `, spent(keys), rightsText(keys)]);
  if (model !== null)
    parts.push([
      parts.length === 0 ? 'Two writes of the rights register take ' : '; two writes of the rights register take ',
      { strong: modelRange(model) },
      ' by published latencies (a model: this CPU has no keys)',
    ]);
  const range =
    bySize(cells, 'native', 'mprotect-range').at(-1) ??
    (lane === undefined ? undefined : bySize(cells, lane, 'mprotect-range').at(-1));
  if (range !== undefined)
    parts.push([
      `${parts.length === 0 ? '' : '. '}With mprotect, one call each way over ${formatBytes(sizeOf(range) ?? 0)}, it `,
      spent(range),
      range.lane === 'native' ? ', measured here' : '',
    ]);
  return parts.length === 0 ? 'This run measured no costs by image size.' : [...parts, '.'];
}

interface Growth {
  readonly low: Cost;
  readonly high: Cost;
}

function growthOf(list: readonly Cost[]): Growth | undefined {
  const [low] = list;
  const high = list.at(-1);
  return low === undefined || high === undefined || sizeOf(low) === sizeOf(high) ? undefined : { low, high };
}

const spanText = ({ low, high }: Growth): string =>
  `${formatBytes(sizeOf(low) ?? 0)} to ${formatBytes(sizeOf(high) ?? 0)}`;

function formatFactor({ low, high }: Growth): string {
  const factor = high.value / low.value;
  return factor >= 100 ? formatCount(factor) : factor.toFixed(factor >= 10 ? 0 : 1);
}

/** Keys' cost within 5 % is called the same. */
const SAME = 0.05;

function keysGrowth(keys: Growth): Text {
  const ratio = keys.high.value / keys.low.value;
  return Math.abs(ratio - 1) < SAME
    ? ['Keys cost ', { strong: 'the same' }, ` for every image from ${spanText(keys)}`]
    : [`From ${spanText(keys)}, keys' cost changed by a factor of `, { strong: ratio.toFixed(2) }];
}

/** At 1,000 callouts a second. */
function shareText(cost: Cost): string {
  const { value, unit } = cost;
  if (unit !== 'ns') return '';
  const share = (value * 1000) / 1e9;
  const percent = share >= 10 ? formatCount(share * 100) : (share * 100).toFixed(share < 0.1 ? 1 : 0);
  return (
    `: at 1,000 callouts a second, protecting ${formatBytes(sizeOf(cost) ?? 0)} so takes ` +
    `${share > 1 ? `more than a whole processor, ${percent} %` : `${percent} % of a processor`}`
  );
}

function growthText({ headline: { cells } }: Basis): Text {
  const keysLane = LANES.find((lane) => growthOf(bySize(cells, lane, 'pkeys')) !== undefined);
  const keys = keysLane === undefined ? undefined : growthOf(bySize(cells, keysLane, 'pkeys'));
  const lane = LANES.find((candidate) => growthOf(bySize(cells, candidate, 'mprotect-range')) !== undefined);
  const range = lane === undefined ? undefined : growthOf(bySize(cells, lane, 'mprotect-range'));
  const page = lane === undefined ? undefined : growthOf(bySize(cells, lane, 'mprotect-page'));
  const parts: readonly Text[] = [
    ...(keys === undefined ? [] : [keysGrowth(keys)]),
    ...(range === undefined
      ? []
      : [
          [
            `${keys === undefined ? 'Mprotect' : '; mprotect'} grows with the image, by a factor of `,
            { strong: formatFactor(range) },
            ` from ${spanText(range)}`,
            ...(page === undefined ? [] : [' (page by page, ', { strong: formatFactor(page) }, ')']),
            shareText(range.high),
          ],
        ]),
  ];
  return parts.length === 0 ? 'This run measured no cost at more than one image size.' : [...parts, '.'];
}

/** The three sentences. */
export function answerOf(basis: Basis): readonly Sentence[] {
  return [
    { about: 'What it stops', text: preventedText(basis.run) },
    { about: 'What it costs', text: priceText(basis) },
    { about: 'Whether it grows', text: growthText(basis) },
  ];
}
