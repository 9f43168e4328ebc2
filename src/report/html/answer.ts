/**
 * The answer in three sentences: what was prevented, what it costs, whether it grows. Every number is computed from the
 * run's records.
 */
import type { CorruptionRecord, Run } from '../../record/records.js';
import { type Lane, LANES, type Mechanism } from '../../record/words.js';
import { formatBytes, formatCount, formatNs } from '../format.js';
import { columnOf, corruptionOf, toneOf } from '../model.js';
import { type Cost, costs, keyModel, plainest, protectingExperiment, sizeOf } from './figures.js';
import { type Content, html, type Markup } from './markup.js';
import { rangeText } from './picture.js';

/** A sentence of the answer, under a word that says what it is about. */
export interface Sentence {
  readonly about: string;
  readonly text: Markup;
}

const isGood = (record: CorruptionRecord): boolean => toneOf(record) === 'good';
const plural = (count: number, one: string, many = `${one}s`): string =>
  `${formatCount(count)} ${count === 1 ? one : many}`;

/** The first names, and how many more there are. */
function someOf(names: readonly string[], most = 4): string {
  return names.length <= most + 1
    ? names.join(', ')
    : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

/** Without protection, did the case do harm? */
function harms(record: CorruptionRecord): boolean {
  return (
    record.verdict === 'damaged' ||
    record.verdict === 'disclosed' ||
    record.verdict === 'host-damaged' ||
    (record.verdict === 'crashed' && record.evidence.process.imageAtDeath === 'differs')
  );
}

function prevented(run: Run): Sentence {
  const about = 'What it stops';
  const all = corruptionOf(run);
  const lane = LANES.find((one) => all.some((record) => record.lane === one && record.mechanism === 'pkeys'));
  if (lane === undefined) {
    return {
      about,
      text:
        all.length === 0
          ? html`This run tried no corruption.`
          : html`This run tried no protection keys: no lane of it has them.`,
    };
  }
  const of = (mechanism: Mechanism): ReadonlyMap<string, CorruptionRecord> =>
    new Map(
      all
        .filter((record) => record.lane === lane && columnOf(record) === mechanism)
        .map((record) => [record.case, record]),
    );
  const keys = of('pkeys');
  const flag = of('flag');
  const harmful = [...of('none').values()]
    .filter((record) => harms(record) && keys.has(record.case))
    .map((record) => record.case);
  const stoppedBy = (records: ReadonlyMap<string, CorruptionRecord>): number =>
    harmful.filter((name) => {
      const record = records.get(name);
      return record !== undefined && isGood(record);
    }).length;
  const through = [...keys.values()].filter((record) => !isGood(record)).map((record) => record.case);
  const rest: Content =
    through.length === 0
      ? html` Under keys, none of the ${plural(keys.size, 'case')} tried harmed the VM.`
      : html` They did not save the VM in <b>${through.length}</b> of all ${plural(keys.size, 'case')}:
          ${someOf(through)} (<a href="#matrix">which, and why</a>).`;
  if (harmful.length === 0)
    return { about, text: html`No case of this run damaged or read the memory of an unprotected VM.${rest}` };
  return {
    about,
    text: html`Of ${plural(harmful.length, 'way')} in which faulty foreign code damages or reads the memory of an
      unprotected VM, protection keys stopped
      <b>${stoppedBy(keys)}</b
      >${flag.size > 0 ? html`; a signal trap without keys, which turns crashes into errors but closes nothing, stopped <b>${stoppedBy(flag)}</b>` : ''}.${rest}`,
  };
}

function bySize(cells: readonly Cost[], lane: Lane, mechanism: Mechanism): readonly Cost[] {
  return cells
    .filter((cost) => cost.lane === lane && cost.mechanism === mechanism)
    .sort((a, b) => (sizeOf(a) ?? 0) - (sizeOf(b) ?? 0));
}

function inWords(cost: Cost): string {
  return cost.unit === 'ns' ? formatNs(cost.value) : `${formatCount(cost.value)} instructions`;
}

function price(run: Run, cells: readonly Cost[], what: string): Sentence {
  const about = 'What it costs';
  const parts: Content[] = [];
  const lane = LANES.find((one) => bySize(cells, one, 'pkeys').length > 0);
  const key = lane === undefined ? undefined : bySize(cells, lane, 'pkeys').at(-1);
  if (key !== undefined) {
    const rights =
      key.counts === undefined || key.unit === 'ns'
        ? ''
        : `, ${key.counts.wrpkru} of them writes of the rights register, and ` +
          `${key.counts.syscalls === 0 ? 'no system call' : plural(key.counts.syscalls, 'system call')}`;
    parts.push(
      key.unit === 'ns'
        ? html`With keys, ${what} takes <b>${formatNs(key.value)}</b>`
        : html`With keys, ${what} executes <b>${inWords(key)}</b>${rights}`,
    );
  }
  const model = keyModel(run);
  if (model !== null)
    parts.push(
      html`${parts.length === 0 ? 'Two writes of the rights register take' : '; two writes of the rights register take'}
        <b>${rangeText(model)}</b> by published latencies (a model: this CPU has no keys)`,
    );
  const range =
    bySize(cells, 'native', 'mprotect-range').at(-1) ??
    (lane === undefined ? undefined : bySize(cells, lane, 'mprotect-range').at(-1));
  if (range !== undefined)
    parts.push(
      html`${parts.length === 0 ? 'With mprotect' : '. With mprotect'}, one call each way over
        ${formatBytes(sizeOf(range) ?? 0)}, it ${range.unit === 'ns' ? 'takes' : 'executes'}
        <b>${inWords(range)}</b>${range.lane === 'native' && ', measured here'}`,
    );
  return { about, text: parts.length === 0 ? html`This run measured no costs by image size.` : html`${parts}.` };
}

function growth(cells: readonly Cost[]): Sentence {
  const about = 'Whether it grows';
  const range = (list: readonly Cost[]): { readonly low: Cost; readonly high: Cost } | undefined => {
    const [low] = list;
    const high = list.at(-1);
    return low === undefined || high === undefined || sizeOf(low) === sizeOf(high) ? undefined : { low, high };
  };
  const parts: Content[] = [];
  const keysLane = LANES.find((one) => range(bySize(cells, one, 'pkeys')) !== undefined);
  const keys = keysLane === undefined ? undefined : range(bySize(cells, keysLane, 'pkeys'));
  if (keys !== undefined) {
    const ratio = keys.high.value / keys.low.value;
    const spread = `${formatBytes(sizeOf(keys.low) ?? 0)} to ${formatBytes(sizeOf(keys.high) ?? 0)}`;
    parts.push(
      Math.abs(ratio - 1) < 0.05
        ? html`Keys cost <b>the same</b> for every image from ${spread}`
        : html`From ${spread}, keys' cost changed by a factor of <b>${ratio.toFixed(2)}</b>`,
    );
  }
  const lane = LANES.find((one) => range(bySize(cells, one, 'mprotect-range')) !== undefined);
  if (lane !== undefined) {
    const factors = (['mprotect-range', 'mprotect-page'] as const).flatMap((mechanism) => {
      const found = range(bySize(cells, lane, mechanism));
      return found === undefined ? [] : [{ mechanism, ...found, factor: found.high.value / found.low.value }];
    });
    const [one, page] = factors;
    if (one !== undefined) {
      parts.push(
        html`${parts.length > 0 ? '; ' : ''}${parts.length > 0 ? 'mprotect' : 'Mprotect'} grows with the image, by a
          factor of <b>${formatFactor(one.factor)}</b> from ${formatBytes(sizeOf(one.low) ?? 0)} to
          ${formatBytes(sizeOf(one.high) ?? 0)}${page === undefined ? '' : html` (page by page, <b>${formatFactor(page.factor)}</b>)`}`,
      );
    }
    const largest = one?.high;
    if (largest?.unit === 'ns') {
      const share = (largest.value * 1000) / 1e9;
      parts.push(
        html`: at 1,000 callouts a second, protecting ${formatBytes(sizeOf(largest) ?? 0)} so takes
        ${share > 1 ? 'more than a whole processor, ' : ''}${share >= 10 ? formatCount(share * 100) : (share * 100).toFixed(share < 0.1 ? 1 : 0)}
        %${share <= 1 && ' of a processor'}`,
      );
    }
  }
  return {
    about,
    text: parts.length === 0 ? html`This run measured no cost at more than one image size.` : html`${parts}.`,
  };
}

function formatFactor(factor: number): string {
  return factor >= 100 ? formatCount(factor) : factor.toFixed(factor >= 10 ? 0 : 1);
}

/** The three sentences. */
export function answer(run: Run): readonly Sentence[] {
  const all = costs(run);
  const experiment = protectingExperiment(all);
  const cells = plainest(all.filter((cost) => cost.experiment === experiment && sizeOf(cost) !== undefined));
  return [
    prevented(run),
    price(
      run,
      cells,
      experiment === 'flip' ? 'closing and opening the whole image' : 'a guarded callout of an empty function',
    ),
    growth(cells),
  ];
}
