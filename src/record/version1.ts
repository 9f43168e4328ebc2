/**
 * Reading runs of schema version 1. It kept as sentences and names what are values now: warnings, cases and their
 * remedies, what image.verify() said, what a row varies, what measuring found. So this searches text, as nothing else
 * does, and it is not for new runs.
 */
import { RunFormatError } from './errors.js';
import { VERSION1_EXPERIMENTS, VERSION1_RUNGS } from './version1-experiments.js';
import type { Warning } from './warnings.js';
import type { RemedyKind } from './words.js';

type Json = Readonly<Record<string, unknown>>;
type Value = number | string | boolean;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Sentences of version 1, each with the warning that it is. Numbers were written into some of them. */
const WARNINGS: readonly (readonly [RegExp, (number: number) => Warning])[] = [
  [/^only (\d+) samples/, (samples) => ({ code: 'few-samples', samples })],
  [/^noisy: the median absolute deviation is over ([\d.]+) %/, (percent) => ({ code: 'noisy', over: percent / 100 })],
  [
    /^the clock is coarse for this: reading it takes over ([\d.]+) %/,
    (percent) => ({ code: 'coarse-clock', over: percent / 100 }),
  ],
  [/^steal time: over ([\d.]+) %/, (percent) => ({ code: 'steal', over: percent / 100 })],
  [/^the core's frequency changed by over ([\d.]+) %/, (percent) => ({ code: 'frequency', over: percent / 100 })],
  [/^put aside for other processes in one batch of four/, () => ({ code: 'put-aside', over: 0.25 })],
  [/^batches were still getting faster/, () => ({ code: 'unsettled' })],
  [/^the warm-up had not settled/, () => ({ code: 'warm-up' })],
  [/^the process could not be pinned/, () => ({ code: 'unpinned' })],
  [/^oversubscribed: /, () => ({ code: 'oversubscribed' })],
  [/^two calibrations of the clock differ by ([\d.]+) %/, (percent) => ({ code: 'clock-drift', drift: percent / 100 })],
  [/^no invariant TSC/, () => ({ code: 'no-invariant-tsc' })],
  [/^a virtual machine: /, () => ({ code: 'virtualised' })],
];

/** A sentence was followed by its remedy, after the last semicolon. */
function warningOf(sentence: string): Warning {
  for (const [pattern, make] of WARNINGS) {
    const match = pattern.exec(sentence);
    if (match !== null) return make(Number(match[1] ?? 0));
  }
  const at = sentence.lastIndexOf('; ');
  return at < 0
    ? { code: 'other', text: sentence, remedy: '' }
    : { code: 'other', text: sentence.slice(0, at), remedy: sentence.slice(at + 2) };
}

/** Words by which a case of version 1 asked for a remedy that several share. */
const REMEDY_WORDS: readonly (readonly [RemedyKind, RegExp])[] = [
  ['process', /another process|process of its own/i],
  ['filter', /syscall filter|filter of system calls|seccomp/i],
  ['seal', /\bm?seal/i],
  ['scan', /\bscan|search for WRPKRU/i],
  ['no-access', /deny all access/i],
  ['keys', /^keys\b|or keys$/],
  ['nothing', /^nothing\b/i],
];

function remedyOf(text: string): Json {
  const kinds = REMEDY_WORDS.flatMap(([kind, word]) => (word.test(text) ? [kind] : []));
  return { kinds: kinds.length === 0 ? ['vm'] : kinds, text };
}

function corruption(record: Json): Json {
  const { remedy, evidence } = record;
  const converted = typeof remedy === 'string' ? { ...record, remedy: remedyOf(remedy) } : record;
  if (!isObject(evidence) || !isObject(evidence['diff'])) return converted;
  const { heap } = evidence['diff'];
  if (typeof heap !== 'string') return converted;
  const diff = { ...evidence['diff'], heap: { sound: heap.startsWith('sound'), text: heap } };
  return { ...converted, evidence: { ...evidence, diff } };
}

/** Parameters of version 1 that described a row or its measuring, and told no rows apart. */
const FOUND: ReadonlySet<string> = new Set([
  ...['repeats', 'round', 'trial', 'process', 'order', 'cpu', 'seed'],
  ...['callouts', 'callbacks', 'reads', 'unit', 'file', 'reachedCycles'],
]);

const PAGE_BYTES = 4096;

function cost(record: Json): Json {
  const { parameters, warnings, ...rest } = record;
  if (!isObject(parameters)) return record;
  const { imageBytes, pages } = parameters;
  // Rows over an image had its size twice.
  const isSame = typeof imageBytes === 'number' && imageBytes === Number(pages) * PAGE_BYTES;
  const isSized = imageBytes === undefined && typeof pages === 'number';
  const entries = Object.entries(parameters).filter(([name]) => name !== 'pages' || !(isSame || isSized));
  const varied = Object.fromEntries([
    ...(isSized ? [['imageBytes', pages * PAGE_BYTES]] : []),
    ...entries.filter(([name]) => !FOUND.has(name)),
  ]) as Readonly<Record<string, Value>>;
  const found = Object.fromEntries(entries.filter(([name]) => FOUND.has(name)));
  const experiment = String(record['experiment']);
  const rung = VERSION1_RUNGS[experiment]?.(String(record['mechanism']), varied);
  const callsBack = experiment === 'callout-koffi' && String(varied['signature']).includes('callback');
  return {
    ...rest,
    varied,
    found: { ...found, ...(callsBack ? { callbacks: 1 } : {}) },
    ...(rung === undefined ? {} : { rung }),
    ...(Array.isArray(warnings) ? { warnings: warnings.map((warning) => warningOf(String(warning))) } : {}),
  };
}

/** Before the name of a lane's detail that was a warning. */
const LANE_WARNING = 'warning: ';

function lane(context: unknown): unknown {
  if (!isObject(context) || !isObject(context['details'])) return context;
  const details = Object.entries(context['details']);
  const warnings = details.filter(([name]) => name.startsWith(LANE_WARNING));
  return {
    ...context,
    details: Object.fromEntries(details.filter(([name]) => !name.startsWith(LANE_WARNING))),
    ...(warnings.length === 0 ? {} : { warnings: warnings.map(([, text]) => warningOf(String(text))) }),
  };
}

/**
 * A run of version 1 as one of version 2. What is wrong with it otherwise is left as it is, for the schema to find.
 * @throws RunFormatError where it has no context or no records
 */
export function fromVersion1(run: Json, name: string): Json & { readonly schemaVersion: unknown } {
  const { context, records } = run;
  if (!isObject(context) || !Array.isArray(records) || !Array.isArray(context['lanes']))
    throw new RunFormatError(`${name} is not a valid run: it has no context, no lanes or no records`);
  const converted = records.map((record: unknown) => {
    if (!isObject(record)) return record;
    if (record['kind'] === 'corruption') return corruption(record);
    return record['kind'] === 'cost' ? cost(record) : record;
  });
  const present = new Set(converted.map((record) => (isObject(record) ? record['experiment'] : undefined)));
  return {
    ...run,
    schemaVersion: 2,
    context: {
      ...context,
      lanes: context['lanes'].map(lane),
      experiments: VERSION1_EXPERIMENTS.filter((experiment) => present.has(experiment.name)),
    },
    records: converted,
  };
}
