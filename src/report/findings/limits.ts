/**
 * What keys do not stop, why, and what would, each with its case. Covered are the mechanisms with keys; the others
 * stand beside them for comparison. A pure function of runs.
 */
import type { CorruptionRecord, Run } from '../../record/records.js';
import { type Lane, needsKeys, type RemedyKind, type Verdict } from '../../record/words.js';
import { everythingOn, hardenedSection } from './hardened.js';
import { byCase, columnsText, nameOf, seenText, verdictWords } from './limit-words.js';
import { cellsOf, columnOf, corruptionOf, diedDamaged, recordedIn } from './records.js';
import { type Block, type Section, tables, text } from './sections.js';
import { left, type Table, words } from './table.js';
import { joined, type Text } from './text.js';

/** A kind of limit: what is said of it, and which records show it. */
interface Limit {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  shows(record: CorruptionRecord): boolean;
}

const seenAs =
  (...verdicts: readonly Verdict[]) =>
  ({ verdict }: CorruptionRecord): boolean =>
    verdicts.includes(verdict);

/** In the order of the document; a record stands in the first section that it shows. */
const LIMITS: readonly Limit[] = [
  {
    id: 'changed',
    title: 'The image changes all the same',
    shows: (record) => record.verdict === 'damaged' || diedDamaged(record),
    text:
      "The claim is about stores by the callee's own instructions while the rights are down. Outside it is what the " +
      "kernel writes without the thread's rights. So is what takes the protection away first, and code that writes " +
      'with rights of its own.',
  },
  {
    id: 'read',
    title: 'The image is read',
    shows: seenAs('disclosed'),
    text: 'Denying writes does not deny reads, and nothing is denied outside the image.',
  },
  {
    id: 'host',
    title: 'The image is equal, the host is not',
    shows: seenAs('host-damaged'),
    text:
      'The rest of the process lies on key 0, which is never denied: the callee itself lives there. A VM that ' +
      'goes on after such a callout goes on with whatever was broken.',
  },
  {
    id: 'ends',
    title: 'The process ends',
    shows: seenAs('crashed'),
    text: 'The image was equal at death, which helps only those who save it in time, or can read it from outside.',
  },
  {
    id: 'hangs',
    title: 'The process hangs',
    shows: seenAs('hung'),
    text: 'A callout that was made to fail has not given back what it held; and one that does not fail is not noticed.',
  },
  {
    id: 'unnoticed',
    title: 'Unnoticed',
    shows: ({ verdict, remedy }) => verdict === 'harmless' && remedy !== undefined,
    text: 'No harm was done here, but a mistake was made and nobody was told.',
  },
];

/** Remedies that several cases share. */
const REMEDIES: readonly { readonly kind: RemedyKind; readonly name: string; readonly text: string }[] = [
  {
    kind: 'process',
    name: 'Another process',
    text:
      'The only complete one: the callee has an address space, descriptors and an end of its own. It costs a ' +
      'change of process for each call (see the cost rows of `process`).',
  },
  {
    kind: 'filter',
    name: 'A syscall filter',
    text:
      'seccomp(2), or syscall user dispatch (prctl(2), PR_SET_SYSCALL_USER_DISPATCH), which a byte in memory ' +
      'turns on for a callout and off after it. seccomp sees numbers and registers; what is dispatched to a handler ' +
      'is judged with what pointers point at, and by the result (harden: [filter], docs/hardening.md).',
  },
  {
    kind: 'seal',
    name: 'Sealing',
    text:
      'mseal(2), Linux 6.10: no munmap, mremap, mprotect or mapping over. On private anonymous memory it stops ' +
      'MADV_DONTNEED only while the key denies writes; it does not concern /proc/self/mem, nor shared memory ' +
      'that can be truncated. The cases sealed-* show both. The heap can then neither shrink nor be given ' +
      'back, and mprotect cannot close it.',
  },
  {
    kind: 'scan',
    name: 'Scanning for WRPKRU',
    text:
      'No executable page may hold WRPKRU or XRSTOR outside the gate; pages are searched before they become ' +
      "executable (ERIM). Against faulty code the gate's own check after its WRPKRU is enough.",
  },
  {
    kind: 'no-access',
    name: 'Denying all access',
    text:
      'The same key with its access bit set instead of its write bit: same cost; what the callee is to read ' +
      'must be lent.',
  },
];

/** The kernels of some lanes. */
const kernelsOf = (run: Run, lanes: ReadonlySet<Lane>): string =>
  [...new Set(run.context.lanes.filter(({ lane }) => lanes.has(lane)).map(({ kernel }) => `Linux ${kernel}`))].join(
    ', ',
  );

type Pair = readonly [CorruptionRecord, CorruptionRecord];

function differencesTable(pairs: readonly Pair[], kernel: string, other: string): Table {
  // Mechanisms of a case that changed alike are one row.
  const groups = new Map<string, [Pair, ...Pair[]]>();
  for (const pair of pairs) {
    const [here, there] = pair;
    if (verdictWords(here) === verdictWords(there)) continue;
    const key = JSON.stringify([here.case, verdictWords(here), verdictWords(there)]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [pair]);
    else group.push(pair);
  }
  return {
    id: 'kernels',
    title: 'What differs',
    columns: [left('case'), left('mechanism'), left(kernel), left(other), left('how it came to that')],
    rows: [...groups.values()].map((group) => {
      const [[here, there]] = group;
      const all = pairs.flatMap(([record]) => (record.case === here.case ? [record] : []));
      return {
        cells: [
          nameOf(here),
          columnsText(
            group.map(([record]) => record),
            all,
          ),
          verdictWords(here),
          verdictWords(there),
          `first ${here.evidence.because}; then ${there.evidence.because}`,
        ].map((content) => words(content)),
      };
    }),
    notes: [],
  };
}

function onlyThereTable(records: readonly CorruptionRecord[], other: string): Table {
  return {
    id: 'only-there',
    title: `Only under ${other} could be tried`,
    columns: ['case', 'what foreign code does', 'seen', 'why', 'without keys'].map(left),
    rows: byCase(records).map((ofCase) => {
      const keyed = ofCase.filter(({ mechanism }) => needsKeys(mechanism));
      const first = keyed[0] ?? ofCase[0];
      return {
        cells: [
          nameOf(first),
          first.summary ?? '',
          seenText(keyed),
          first.expected.why,
          seenText(ofCase.filter(({ mechanism }) => !needsKeys(mechanism))),
        ].map((content) => words(content)),
      };
    }),
    notes: [],
  };
}

/** How a section about two kernels is called; `only`: what is said of cases that only the other has. */
interface KernelWords {
  readonly id: string;
  readonly title: string;
  readonly only: string;
}

/**
 * What two kernels do differently: cells tried under both, whose verdicts are not the same; then cases that could be
 * tried under the other alone.
 */
function kernelSection(
  run: Run,
  beside: Run,
  { id, title, only }: KernelWords = { id: 'another-kernel', title: 'Another kernel', only: 'could be tried' },
  of: (run: Run) => readonly CorruptionRecord[] = corruptionOf,
): Section {
  const cell = (record: CorruptionRecord): string => JSON.stringify([record.case, columnOf(record), record.lane]);
  const lanes = new Set(of(beside).map(({ lane }) => lane));
  const [kernel, other] = [kernelsOf(run, lanes), kernelsOf(beside, lanes)];
  const others = new Map(of(beside).map((record) => [cell(record), record]));
  const pairs = of(run).flatMap((record): readonly Pair[] => {
    const there = others.get(cell(record));
    return there === undefined ? [] : [[record, there]];
  });
  const differing = pairs.filter(([here, there]) => verdictWords(here) !== verdictWords(there)).length;
  const here = new Set(of(run).flatMap((record) => (lanes.has(record.lane) ? [record.case] : [])));
  const onlyThere = of(beside).filter((record) => !here.has(record.case));
  return {
    id,
    title,
    blocks: [
      text(
        `${pairs.length} cells were tried under ${kernel} and under ${other} (${recordedIn(beside, lanes)}): ` +
          `${differing === 0 ? 'all verdicts are the same.' : `${differing} differ.`}`,
      ),
      ...tables(differencesTable(pairs, kernel, other)),
      ...(onlyThere.length === 0 ? [] : [text(`Only under ${other} ${only}:`)]),
      ...tables(onlyThereTable(onlyThere, other)),
    ],
  };
}

function limitTable(
  { id, title }: Limit,
  records: readonly CorruptionRecord[],
  others: readonly CorruptionRecord[],
  hardened: readonly CorruptionRecord[] | undefined,
): Table {
  const shown = ['case', 'what foreign code does', 'seen', 'why', 'without keys', 'what would help'];
  return {
    id,
    title,
    columns: (hardened === undefined ? shown : [...shown, 'hardened']).map(left),
    rows: byCase(records).map((ofCase) => {
      const [first] = ofCase;
      const why = new Set(
        ofCase.map(({ surprise, evidence, expected }) => (surprise ? evidence.because : expected.why)),
      );
      return {
        cells: [
          nameOf(first),
          first.summary ?? '',
          seenText(ofCase),
          [...why].join('; '),
          seenText(others.filter((record) => record.case === first.case)),
          first.remedy?.text ?? '',
          ...(hardened === undefined ? [] : [seenText(hardened.filter((record) => record.case === first.case))]),
        ].map((content) => words(content)),
      };
    }),
    notes: [],
  };
}

/** What a document says before its sections, and the sections. */
export interface Limits {
  readonly intro: readonly Text[];
  readonly sections: readonly Section[];
}

function remediesSection(shown: readonly CorruptionRecord[]): readonly Section[] {
  const items = REMEDIES.flatMap(({ kind, name, text: explanation }): readonly Text[] => {
    const cases = byCase(shown.filter(({ remedy }) => remedy?.kinds.includes(kind) === true));
    if (cases.length === 0) return [];
    const names = joined(
      cases.map(([first]) => nameOf(first)),
      ', ',
    );
    return [[{ strong: name }, ' (', names, `). ${explanation}`]];
  });
  const list: Block = { kind: 'list', items };
  return items.length === 0 ? [] : [{ id: 'remedies', title: 'What would help', blocks: [list] }];
}

function needlessSection(all: readonly CorruptionRecord[], keyed: readonly CorruptionRecord[]): readonly Section[] {
  const harmless = new Set(
    all.flatMap(({ case: name, mechanism, verdict }) => (mechanism === 'none' && verdict === 'harmless' ? [name] : [])),
  );
  const needless = keyed.filter((record) => record.verdict === 'prevented' && harmless.has(record.case));
  if (needless.length === 0) return [];
  const items = byCase(needless).map(([first]): Text => [nameOf(first), `: ${first.summary ?? ''}.`]);
  return [
    {
      id: 'needless',
      title: 'Stopped though harmless',
      blocks: [text('Rights are decided by page and kind of access, not by intent.'), { kind: 'list', items }],
    },
  ];
}

/**
 * @param beside a run of the same cases under another kernel, to say what differs
 * @param hardened a run of the same cases under hardened guards, to say what each remedy was seen to do
 * @param hardenedBeside the same under another kernel, to say what differs
 */
export function limitsOf(run: Run, beside?: Run, hardened?: Run, hardenedBeside?: Run): Limits {
  const all = corruptionOf(run);
  const keyed = all.filter(({ mechanism }) => needsKeys(mechanism));
  const { context } = run;
  const lanesText = context.lanes
    .map(({ lane, kernel, keys }) => `${lane} lane: Linux ${kernel}, ${keys ? 'with keys' : 'without keys'}.`)
    .join(' ');
  const intro: readonly Text[] = [
    [
      'Written by ',
      { code: 'turnkey report' },
      " from a run's records: each row is a case that was tried, with what was seen. The other side, what keys " +
        "do stop, is the report's matrix.",
    ],
    `Run of ${context.started}, commit ${context.commit ?? 'unknown'}, seed ${context.seed}. ${lanesText}`,
  ];
  if (keyed.length === 0)
    return {
      intro: [...intro, 'This run has no trial under keys, so that it shows nothing about their limits.'],
      sections: [],
    };
  const lanes = new Set(keyed.map(({ lane }) => lane)); // the others beside them are those of the same machine
  const others = all.filter(({ lane, mechanism }) => lanes.has(lane) && !needsKeys(mechanism));
  const remedied = hardened && cellsOf(hardened).filter(({ harden }) => harden !== undefined);
  const shown = new Set<CorruptionRecord>();
  const sections = LIMITS.flatMap((limit): readonly Section[] => {
    const here = keyed.filter((record) => !shown.has(record) && limit.shows(record));
    for (const record of here) shown.add(record);
    if (here.length === 0) return [];
    const { id, title, text: explanation } = limit;
    return [{ id, title, blocks: [text(explanation), ...tables(limitTable(limit, here, others, remedied))] }];
  });
  const prevented = keyed.filter(({ verdict }) => verdict === 'prevented').length;
  return {
    intro: [
      ...intro,
      `Of ${keyed.length} cells under keys, ${prevented} were prevented; ${shown.size} are described below.`,
      ...(hardened === undefined
        ? []
        : [
            `Column "hardened" is of another run, under ${kernelsOf(hardened, lanes)}: ` +
              'what that kernel does otherwise shows there too.',
          ]),
    ],
    sections: [
      ...sections,
      ...needlessSection(all, keyed),
      ...(beside === undefined ? [] : [kernelSection(run, beside)]),
      ...(hardened === undefined ? [] : [hardenedSection(hardened)]),
      ...(hardened === undefined || hardenedBeside === undefined
        ? []
        : [
            kernelSection(
              hardened,
              hardenedBeside,
              { id: 'hardened-elsewhere', title: 'When everything is on, under another kernel', only: 'were tried' },
              everythingOn,
            ),
          ]),
      ...remediesSection([...shown]),
    ],
  };
}
