/**
 * What a report says, as plain tables: the terminal's and the Markdown's are both made from these. Pure functions of a
 * run.
 */
import {
  type CorruptionRecord,
  type CostRecord,
  type DiffEvidence,
  type HonestRecord,
  type Run,
  type SkippedRecord,
  SOUND,
} from '../record/records.js';
import { CASE_GROUPS, type Lane, LANES, type Mechanism, MECHANISMS, type Verdict, VERDICTS } from '../record/words.js';
import { formatBytes, formatCount, formatNs } from './format.js';

/** What a cell is: renderers colour by it, the text says the same without colour. */
export type Tone = 'good' | 'bad' | 'neutral' | 'missing' | 'plain';

export interface Cell {
  readonly text: string;
  readonly tone: Tone;
}

export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** Lines under the table. */
  readonly notes: readonly string[];
  /** Columns from this index on hold numbers: aligned right. */
  readonly numericFrom?: number;
}

const plain = (text: string): Cell => ({ text, tone: 'plain' });

/** Verdicts under which the image came through and the VM goes on. */
const GOOD: ReadonlySet<Verdict> = new Set(['prevented', 'refused', 'trapped', 'harmless']);

/** Good: the VM came through. Neutral: the process died with its image equal. Bad: the rest. */
export function toneOf(record: CorruptionRecord): Tone {
  if (GOOD.has(record.verdict)) return 'good';
  return record.verdict === 'crashed' && record.evidence.process.imageAtDeath === 'equal' ? 'neutral' : 'bad';
}

/** A verdict in a cell: marked ! where it was not expected, ? where repetitions differ. */
export function verdictText(record: CorruptionRecord): string {
  const more =
    record.verdict === 'damaged' && record.announced === true
      ? ', announced'
      : record.verdict === 'crashed' && record.evidence.process.imageAtDeath === 'differs'
        ? ', image differs'
        : '';
  return `${record.verdict}${more}${record.surprise ? ' !' : ''}${record.unstable ? ' ?' : ''}`;
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

export const corruptionOf = (run: Run): readonly CorruptionRecord[] =>
  run.records.filter((record) => record.kind === 'corruption');
export const honestOf = (run: Run): readonly HonestRecord[] => run.records.filter((record) => record.kind === 'honest');
export const costsOf = (run: Run): readonly CostRecord[] => run.records.filter((record) => record.kind === 'cost');
export const skippedOf = (run: Run): readonly SkippedRecord[] =>
  run.records.filter((record) => record.kind === 'skipped');

function inOrder<T>(order: readonly T[], present: Iterable<T>): readonly T[] {
  const set = new Set(present);
  return order.filter((one) => set.has(one));
}

const lanesOf = (records: readonly { readonly lane: Lane }[]): readonly Lane[] =>
  inOrder(
    LANES,
    records.map((record) => record.lane),
  );
const mechanismsOf = (records: readonly { readonly mechanism: Mechanism }[]): readonly Mechanism[] =>
  inOrder(
    MECHANISMS,
    records.map((record) => record.mechanism),
  );

/** A column of the matrix: a mechanism with what it was varied by. */
export function columnOf(record: CorruptionRecord): string {
  return [
    record.mechanism,
    ...(record.deny === 'access' ? ['no access'] : []),
    ...(record.keys === 'space' ? ['key per space'] : []),
  ].join(', ');
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

/** A lane with its kernel, and whether it has keys. */
export function laneTitle(run: Run, lane: Lane): string {
  const context = run.context.lanes.find((one) => one.lane === lane);
  return context === undefined
    ? `${lane} lane`
    : `${lane} lane (Linux ${context.kernel}${context.keys ? ', protection keys' : ', no protection keys'})`;
}

/** The corruption matrix: one table per lane, cases by mechanisms. */
export function matrices(run: Run): readonly Table[] {
  const all = corruptionOf(run);
  const skipped = skippedOf(run).filter((record) => record.of === 'corruption');
  return lanesOf([...all, ...skipped]).map((lane) => {
    const here = all.filter((record) => record.lane === lane);
    const missing = skipped.filter((record) => record.lane === lane);
    const columns = columnsOf(
      here,
      missing.map((record) => record.mechanism),
    );
    const names = [...new Set([...here.map((record) => record.case), ...missing.map((record) => record.name)])];
    const groupOf = (name: string): number => {
      const group = all.find((record) => record.case === name)?.group;
      return group === undefined ? CASE_GROUPS.length : CASE_GROUPS.indexOf(group);
    };
    names.sort((a, b) => groupOf(a) - groupOf(b) || (a < b ? -1 : 1));
    const rows = names.map((name) => {
      const group = all.find((record) => record.case === name)?.group ?? '';
      const cells = columns.map(({ column, mechanism }): Cell => {
        const record = here.find((one) => one.case === name && columnOf(one) === column);
        if (record !== undefined) return { text: verdictText(record), tone: toneOf(record) };
        return {
          text: missing.some((one) => one.name === name && one.mechanism === mechanism) ? 'skipped' : '',
          tone: 'missing',
        };
      });
      return [plain(group), plain(name), ...cells];
    });
    return {
      title: `Corruption, ${laneTitle(run, lane)}`,
      head: ['group', 'case', ...columns.map(({ column }) => column)],
      rows,
      notes: [],
    };
  });
}

/**
 * How many cells of each verdict, per lane and mechanism; `damaged` told apart by whether a fault was raised as well.
 */
export function totals(run: Run): Table {
  const all = corruptionOf(run);
  const announced = (record: CorruptionRecord): boolean => record.announced === true;
  const columns = inOrder(
    VERDICTS,
    all.map((record) => record.verdict),
  ).flatMap((verdict): readonly { readonly name: string; readonly has: (record: CorruptionRecord) => boolean }[] =>
    verdict === 'damaged'
      ? [
          { name: 'damaged, silent', has: (record) => record.verdict === 'damaged' && !announced(record) },
          { name: 'damaged, announced', has: (record) => record.verdict === 'damaged' && announced(record) },
        ]
      : [{ name: verdict, has: (record) => record.verdict === verdict }],
  );
  const rows = lanesOf(all).flatMap((lane) =>
    columnsOf(all.filter((record) => record.lane === lane)).map(({ column }) => {
      const here = all.filter((record) => record.lane === lane && columnOf(record) === column);
      const count = (has: (record: CorruptionRecord) => boolean): string => String(here.filter(has).length);
      return [
        plain(lane),
        plain(column),
        plain(`${count((record) => toneOf(record) === 'good')} of ${here.length}`),
        ...columns.map(({ has }) => plain(count(has))),
      ];
    }),
  );
  return {
    title: 'Verdicts',
    head: ['lane', 'mechanism', 'VM came through', ...columns.map(({ name }) => name)],
    rows,
    notes: [],
    numericFrom: 2,
  };
}

/** Of the images that image.verify() was asked about, how many it told something of. */
function toldByVerify(records: readonly CorruptionRecord[]): string {
  const said = records.flatMap(({ evidence }) => evidence.diff?.heap ?? []);
  return shareText(
    said.filter((heap) => !heap.startsWith(SOUND)),
    said,
  );
}

const shareText = (list: readonly unknown[], of: readonly unknown[]): string =>
  of.length === 0 ? '–' : `${list.length} of ${of.length}`;

/**
 * What checking and restoring a whole image takes, from the experiment image-check: the largest image. Null where it
 * was not measured.
 */
function checkTimes(run: Run): string | null {
  const rows = costsOf(run).filter(({ experiment, lane }) => experiment === 'image-check' && lane === 'native');
  const bytes = Math.max(0, ...rows.map(({ parameters }) => Number(parameters['imageBytes'])));
  const parts = (
    [
      ['verify()', 'verify'],
      ['diff()', 'diff, nothing differs'],
      ['memcmp over as many bytes', 'memcmp'],
      ['restore() of one page', 'restore, one page'],
      ['restore() of every page', 'restore, every page'],
      ['a new snapshot()', 'snapshot'],
    ] as const
  ).flatMap(([name, operation]) =>
    rows
      .filter(({ parameters }) => parameters['imageBytes'] === bytes && parameters['operation'] === operation)
      .map(({ median }) => `${name} ${formatNs(median)}`),
  );
  return parts.length === 0 ? null : `times for an image of ${formatBytes(bytes)}, native lane: ${parts.join(', ')}`;
}

/**
 * After a callout that the process outlived: did the image have to be checked, did it differ, would walking the heap
 * have told, did going back to the snapshot help? Trials by lane and mechanism.
 */
export function aftermathTable(run: Run): Table {
  const all = corruptionOf(run).filter(
    ({ evidence }) => evidence.diff !== null && evidence.process.stage === 'finished',
  );
  const rows = lanesOf(all).flatMap((lane) =>
    columnsOf(all.filter((record) => record.lane === lane)).map(({ column }) => {
      const here = all.filter((record) => record.lane === lane && columnOf(record) === column);
      const failed = here.filter(({ evidence }) => evidence.fault !== null);
      const differs = (record: CorruptionRecord): boolean => (record.evidence.diff?.changedBytes ?? 0) > 0;
      const [announced, silent] = [
        failed.filter(differs),
        here.filter((record) => record.evidence.fault === null && differs(record)),
      ];
      const restored = here.filter(({ evidence }) => evidence.restored !== undefined);
      return [
        lane,
        column,
        String(failed.length),
        String(failed.filter(({ evidence }) => evidence.fault?.image !== 'protected').length),
        String(announced.length),
        toldByVerify(announced),
        String(silent.length),
        toldByVerify(silent),
        shareText(
          restored.filter(({ evidence }) => evidence.restored?.equal === true),
          restored,
        ),
      ].map(plain);
    }),
  );
  const times = checkTimes(run);
  return {
    title: 'After the callout: what had to be checked, and what brought it back',
    rows,
    numericFrom: 2,
    head: [
      'lane',
      'mechanism',
      'callouts failed',
      'image to be checked',
      'it differed',
      'verify() told of it',
      'differed, no fault',
      'verify() told of that',
      'restore() brought it back',
    ],
    notes:
      rows.length === 0
        ? []
        : [
            "To be checked: the error did not say that the image was protected throughout (image: 'unknown'). " +
              'verify() walks the heap and tells of broken headers, sizes and pointers; other changed bytes only ' +
              'a comparison with the snapshot tells. Restored: compared again, no byte differs. Only trials in ' +
              'Node are verified and restored: the hosts in C and in Lua do neither.',
            ...(times === null ? [] : [times]),
          ],
  };
}

/** Honest work: cases by mechanisms, a column group per lane. */
export function honestTable(run: Run): Table {
  const all = honestOf(run);
  const mechanisms = mechanismsOf(all);
  const rows = lanesOf(all).flatMap((lane) =>
    [...new Set(all.map((record) => record.case))].map((name) => {
      const cells = mechanisms.map((mechanism): Cell => {
        const record = all.find((one) => one.lane === lane && one.case === name && one.mechanism === mechanism);
        if (record === undefined) return { text: 'skipped', tone: 'missing' };
        const fine = (record.outcome === 'same' || record.outcome === 'reference') && record.imageEqual === true;
        return {
          text: `${record.outcome === 'reference' ? 'same (reference)' : record.outcome}${fine ? '' : ' !'}`,
          tone: fine ? 'good' : 'bad',
        };
      });
      return [plain(lane), plain(name), ...cells];
    }),
  );
  const notes = [...new Set(all.map((record) => record.case))].flatMap((name) => {
    const reference = all.find((record) => record.case === name && record.outcome === 'reference');
    return reference?.sha256 == null
      ? []
      : [
          `${name}: SHA-256 ${reference.sha256.slice(0, 16)}…, ${formatCount(reference.bytes ?? 0)} bytes, ` +
            `${formatCount(reference.callouts ?? 0)} callouts`,
        ];
  });
  return { title: 'Honest work: the same bytes?', head: ['lane', 'case', ...mechanisms], rows, notes };
}

/** The figure of a cost record: the median of times; of counts the least, which repeats best. */
export function figureOf(record: CostRecord): number {
  return record.unit === 'instructions' ? Math.min(...record.samples) : record.median;
}

/** A row that was not as expected. */
export interface Surprise {
  readonly title: string;
  readonly lines: readonly string[];
}

/** All that was not as expected, to be shown first. */
export function surprises(run: Run): readonly Surprise[] {
  const corruption = corruptionOf(run)
    .filter((record) => record.surprise || record.unstable)
    .map((record) => ({
      title: `${record.case}, ${columnOf(record)}, ${record.lane}: ${verdictText(record)}`,
      lines: [
        `expected ${record.expected.verdicts.join(' or ')}: ${record.expected.why}`,
        `seen: ${record.evidence.because}`,
        ...record.evidence.missing.map((text) => `not held: ${text}`),
        ...(record.unstable ? [`repetitions: ${record.repetitions.join(', ')}`] : []),
      ],
    }));
  const honest = honestOf(run)
    .filter((record) => record.outcome === 'differs' || record.outcome === 'failed' || record.imageEqual === false)
    .map((record) => ({
      title: `honest ${record.case}, ${record.mechanism}, ${record.lane}: ${record.outcome}`,
      lines: [record.detail],
    }));
  const broken = skippedOf(run)
    .filter((record) => record.broken === true)
    .map((record) => ({
      title: `${record.of} ${record.name}, ${record.mechanism}, ${record.lane}: could not be tried`,
      lines: [record.reason],
    }));
  return [...corruption, ...honest, ...broken];
}

/** Named of what was skipped for the same reason; all of them are in run.json. */
const MOST_NAMES = 8;

/** Skipped rows, joined by reason. */
export function skippedTable(run: Run): Table {
  const groups = new Map<string, SkippedRecord[]>();
  for (const record of skippedOf(run)) {
    const key = JSON.stringify([record.lane, record.reason]);
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  const rows = [...groups.values()].flatMap((records) => {
    const [first] = records;
    if (first === undefined) return [];
    const names = [...new Set(records.map((record) => record.name))];
    return [
      [
        plain(first.lane),
        plain(
          inOrder(
            MECHANISMS,
            records.map((record) => record.mechanism),
          ).join(', '),
        ),
        plain(String(records.length)),
        plain(
          names.length <= MOST_NAMES + 1
            ? names.join(', ')
            : `${names.slice(0, MOST_NAMES).join(', ')} and ${names.length - MOST_NAMES} more`,
        ),
        plain(first.reason),
      ],
    ];
  });
  return { title: 'Skipped', head: ['lane', 'mechanisms', 'rows', 'what', 'reason'], rows, notes: [] };
}

/** The environment, as pairs. */
export function environment(run: Run): Table {
  const { context } = run;
  const { host } = context;
  const rows: [string, string][] = [
    ['started', context.started],
    ['finished', context.finished],
    ['commit', context.commit ?? 'not in a repository'],
    ['seed', String(context.seed)],
    ['CPU', `${host.cpu}, ${host.cores} cores${host.virtualised ? ', virtualised' : ''}`],
    ['protection keys on this CPU', host.keys ? 'yes' : 'no'],
    ['memory', formatBytes(host.memoryBytes)],
    ['system', `${host.system}, Linux ${host.kernel}`],
    ...Object.entries(context.versions).map(([name, version]): [string, string] => [name, version]),
    ...(context.imageFile === null
      ? []
      : [['image file', `${context.imageFile.name}, ${formatBytes(context.imageFile.bytes)}`] as [string, string]]),
    ...context.lanes.flatMap((lane): [string, string][] => [
      [
        `${lane.lane} lane`,
        `Linux ${lane.kernel}; ${lane.cpu}; ` +
          `${lane.keys ? 'protection keys' : `no protection keys: ${lane.keysReason ?? 'unknown why'}`}`,
      ],
      ...Object.entries(lane.details).map(([name, text]): [string, string] => [`${lane.lane}: ${name}`, text]),
    ]),
  ];
  return {
    title: 'Environment',
    head: ['what', 'value'],
    rows: rows.map(([name, value]) => [plain(name), plain(value)]),
    notes: [],
  };
}
