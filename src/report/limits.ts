/** limits.md: what keys do not stop, why, and what would, each with its case. A pure function of a run. */
import type { CorruptionRecord, Run } from '../record/records.js';
import { caseFile, type Lane, needsKeys, type Verdict } from '../record/words.js';
import { columnOf, corruptionOf } from './model.js';

/** A kind of limit: how it is told, and which records show it. */
interface Section {
  readonly title: string;
  readonly text: string;
  shows(record: CorruptionRecord): boolean;
}

const of =
  (...verdicts: readonly Verdict[]) =>
  ({ verdict }: CorruptionRecord): boolean =>
    verdicts.includes(verdict);
const diedDamaged = ({ verdict, evidence }: CorruptionRecord): boolean =>
  verdict === 'crashed' && evidence.process.imageAtDeath === 'differs';

/** In the order of the document; a record is told in the first section that it shows. */
const SECTIONS: readonly Section[] = [
  {
    title: 'The image changes all the same',
    shows: (record) => record.verdict === 'damaged' || diedDamaged(record),
    text:
      "The claim is about stores by the callee's own instructions while the rights are down. What the kernel " +
      "writes on somebody's behalf without the thread's rights, what takes the protection away first, and " +
      'whoever writes with rights of his own is outside it.',
  },
  {
    title: 'The image is read',
    shows: of('disclosed'),
    text: 'Denying writes does not deny reads, and nothing is denied outside the image.',
  },
  {
    title: 'The image is equal, the host is not',
    shows: of('host-damaged'),
    text:
      'The rest of the process lies on key 0, which is never denied: the callee itself lives there. A VM that ' +
      'goes on after such a callout goes on with whatever was broken.',
  },
  {
    title: 'The process ends',
    shows: of('crashed'),
    text: 'The image was equal at death, which helps only those who save it in time, or can read it from outside.',
  },
  {
    title: 'The process hangs',
    shows: of('hung'),
    text: 'A callout that was made to fail has not given back what it held; and one that does not fail is not noticed.',
  },
  {
    title: 'Unnoticed',
    shows: (record) => record.verdict === 'harmless' && record.remedy !== undefined,
    text: 'No harm was done here, but a mistake was made and nobody was told.',
  },
];

/** Remedies that several cases share, and the words by which a case asks for one. */
const REMEDIES: readonly { readonly name: string; readonly word: RegExp; readonly text: string }[] = [
  {
    name: 'Another process',
    word: /another process|process of its own/i,
    text:
      'The only complete one: the callee has an address space, descriptors and an end of its own. It costs a ' +
      'change of process for each call (see the cost rows of `process`).',
  },
  {
    name: 'A syscall filter',
    word: /syscall filter|filter of system calls|seccomp/i,
    text:
      'seccomp(2), or syscall user dispatch (prctl(2), PR_SET_SYSCALL_USER_DISPATCH), which a byte in memory ' +
      'turns on for a callout and off after it. Both see numbers and registers, not what pointers point at.',
  },
  {
    name: 'Sealing',
    word: /\bm?seal/i,
    text:
      'mseal(2), Linux 6.10: no munmap, mremap, mprotect or mapping over. On private anonymous memory it stops ' +
      'MADV_DONTNEED only while the key denies writes; it does not concern /proc/self/mem, nor shared memory ' +
      'that can be truncated. The cases sealed-* show both. The heap can then neither shrink nor be given ' +
      'back, and mprotect cannot close it.',
  },
  {
    name: 'Scanning for WRPKRU',
    word: /\bscan|search for WRPKRU/i,
    text:
      'No executable page may hold WRPKRU or XRSTOR outside the gate; pages are searched before they become ' +
      "executable (ERIM). Against faulty code the gate's own check after its WRPKRU is enough.",
  },
  {
    name: 'Denying all access',
    word: /deny all access/i,
    text:
      'The same key with its access bit set instead of its write bit: same cost; what the callee is to read ' +
      'must be lent.',
  },
];

const escape = (text: string): string =>
  text
    .replace(/\\/g, '\\\\')
    .replace(/\|/g, '\\|')
    .replace(/</g, '&lt;')
    .replace(/\s*\n\s*/g, ' ');

function verdictWords(record: CorruptionRecord): string {
  const more =
    record.verdict === 'damaged'
      ? record.announced === true
        ? ', announced'
        : ', silently'
      : diedDamaged(record)
        ? ', image differs'
        : '';
  return `${record.verdict}${more}${record.surprise ? ' (not expected)' : ''}${record.unstable ? ` (of ${record.repetitions.length} trials: ${record.repetitions.join(', ')})` : ''}`;
}

/** The columns of some of a case's records; a mechanism that is there in all its variants by its own name. */
function columnsText(some: readonly CorruptionRecord[], all: readonly CorruptionRecord[]): string {
  const columns = (list: readonly CorruptionRecord[], { mechanism }: CorruptionRecord): ReadonlySet<string> =>
    new Set(list.filter((one) => one.mechanism === mechanism).map(columnOf));
  return [
    ...new Set(
      some.map((record) => {
        const variants = columns(all, record).size;
        return variants > 1 && columns(some, record).size === variants
          ? `\`${record.mechanism}\` in each variant`
          : `\`${columnOf(record)}\``;
      }),
    ),
  ].join(', ');
}

/** Columns with the same verdict are told together. */
function seen(records: readonly CorruptionRecord[]): string {
  const byVerdict = new Map<string, CorruptionRecord[]>();
  for (const record of records)
    byVerdict.set(verdictWords(record), [...(byVerdict.get(verdictWords(record)) ?? []), record]);
  return [...byVerdict].map(([words, same]) => `${words}: ${columnsText(same, records)}`).join('; ');
}

export interface LimitsOptions {
  /** Path from the document's folder to the project, with a slash at its end; no links to cases where missing. */
  readonly sources?: string;
  /** A run of the same cases under another kernel: what differs is told. */
  readonly beside?: Run;
}

/** The kernels of some lanes. */
const kernelsOf = (run: Run, lanes: ReadonlySet<Lane>): string =>
  [...new Set(run.context.lanes.filter(({ lane }) => lanes.has(lane)).map(({ kernel }) => `Linux ${kernel}`))].join(
    ', ',
  );

/**
 * What two kernels do differently: cells tried under both, whose verdicts are not the same; then cases that could be
 * tried under the other alone.
 */
function kernelSection(run: Run, beside: Run, name: (record: CorruptionRecord) => string): readonly string[] {
  const cell = (record: CorruptionRecord): string => JSON.stringify([record.case, columnOf(record), record.lane]);
  const lanes = new Set(corruptionOf(beside).map(({ lane }) => lane));
  const [kernel, other] = [kernelsOf(run, lanes), kernelsOf(beside, lanes)];
  const others = new Map(corruptionOf(beside).map((record) => [cell(record), record]));
  type Pair = readonly [CorruptionRecord, CorruptionRecord];
  const pairs = corruptionOf(run).flatMap((record): readonly Pair[] => {
    const there = others.get(cell(record));
    return there === undefined ? [] : [[record, there]];
  });
  const here = new Set(
    corruptionOf(run)
      .filter(({ lane }) => lanes.has(lane))
      .map((record) => record.case),
  );
  const onlyThere = corruptionOf(beside).filter((record) => !here.has(record.case));
  const different = pairs.filter(([one, there]) => verdictWords(one) !== verdictWords(there));
  // Mechanisms of a case that changed alike are one row.
  const groups = new Map<string, [Pair, ...Pair[]]>();
  for (const pair of different) {
    const [one, there] = pair;
    const key = JSON.stringify([one.case, verdictWords(one), verdictWords(there)]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [pair]);
    else group.push(pair);
  }
  return [
    '## Another kernel',
    '',
    `${pairs.length} cells were tried under ${kernel} and under ${other} (run of ${beside.context.started}, commit ${beside.context.commit ?? 'unknown'}): ${
      different.length === 0 ? 'all verdicts are the same.' : `${different.length} differ.`
    }`,
    '',
    ...(different.length === 0
      ? []
      : [
          `| case | mechanism | ${kernel} | ${other} | how it came to that |`,
          '| --- | --- | --- | --- | --- |',
          ...[...groups.values()].map((group) => {
            const [[one, there]] = group;
            const all = pairs.filter(([record]) => record.case === one.case).map(([record]) => record);
            return `| ${[
              name(one),
              columnsText(
                group.map(([record]) => record),
                all,
              ),
              verdictWords(one),
              verdictWords(there),
              `first ${one.evidence.because}; then ${there.evidence.because}`,
            ]
              .map(escape)
              .join(' | ')} |`;
          }),
          '',
        ]),
    ...(onlyThere.length === 0
      ? []
      : [
          `Only under ${other} could be tried:`,
          '',
          '| case | what foreign code does | seen | why | without keys |',
          '| --- | --- | --- | --- | --- |',
          ...[...new Set(onlyThere.map((record) => record.case))].flatMap((one) => {
            const records = onlyThere.filter((record) => record.case === one);
            const keyed = records.filter((record) => needsKeys(record.mechanism));
            const [first] = keyed.length === 0 ? records : keyed;
            return first === undefined
              ? []
              : [
                  `| ${[name(first), first.summary ?? '', seen(keyed), first.expected.why, seen(records.filter((record) => !needsKeys(record.mechanism)))].map(escape).join(' | ')} |`,
                ];
          }),
          '',
        ]),
  ];
}

/**
 * The document. Told are the mechanisms with keys; the others stand beside them for comparison. Where a run has none
 * with keys, it says so.
 */
export function renderLimits(run: Run, options: LimitsOptions = {}): string {
  const all = corruptionOf(run);
  const keyed = all.filter((record) => needsKeys(record.mechanism));
  const lanes = new Set(keyed.map(({ lane }) => lane)); // the others beside them are those of the same machine
  const name = (record: CorruptionRecord): string =>
    options.sources === undefined
      ? `\`${record.case}\``
      : `[${record.case}](${options.sources}${caseFile(record.group, record.case)})`;
  const lines: string[] = [
    '# What keys do not stop',
    '',
    "Written by `turnkey report` from a run's records: each row is a case that was tried, with what was " +
      "seen. The other side, what keys do stop, is the report's matrix.",
    '',
    `Run of ${run.context.started}, commit ${run.context.commit ?? 'unknown'}, seed ${run.context.seed}. ` +
      `${run.context.lanes.map((lane) => `${lane.lane} lane: Linux ${lane.kernel}, ${lane.keys ? 'with keys' : 'without keys'}.`).join(' ')}`,
    '',
  ];
  if (keyed.length === 0)
    return [...lines, 'This run has no trial under keys, so that it shows nothing about their limits.', ''].join('\n');
  const prevented = keyed.filter((record) => record.verdict === 'prevented').length;
  lines.push(
    `Of ${keyed.length} cells under keys, ${prevented} were prevented; ` +
      `${keyed.filter((record) => SECTIONS.some((section) => section.shows(record))).length} are told below.`,
    '',
  );
  const told = new Set<CorruptionRecord>();
  for (const section of SECTIONS) {
    const here = keyed.filter((record) => !told.has(record) && section.shows(record));
    for (const record of here) told.add(record);
    if (here.length === 0) continue;
    lines.push(
      `## ${section.title}`,
      '',
      section.text,
      '',
      '| case | what foreign code does | seen | why | without keys | what would help |',
      '| --- | --- | --- | --- | --- | --- |',
    );
    for (const one of new Set(here.map((record) => record.case))) {
      const records = here.filter((record) => record.case === one);
      const [first] = records;
      if (first === undefined) continue;
      const others = all.filter(
        (record) => record.case === one && lanes.has(record.lane) && !needsKeys(record.mechanism),
      );
      const why = [
        ...new Set(records.map((record) => (record.surprise ? record.evidence.because : record.expected.why))),
      ].join('; ');
      lines.push(
        `| ${[name(first), first.summary ?? '', seen(records), why, seen(others), first.remedy ?? ''].map(escape).join(' | ')} |`,
      );
    }
    lines.push('');
  }
  const needless = keyed.filter(
    (record) =>
      record.verdict === 'prevented' &&
      all.some((other) => other.case === record.case && other.mechanism === 'none' && other.verdict === 'harmless'),
  );
  if (needless.length > 0) {
    lines.push('## Stopped though harmless', '', 'Rights are decided by page and kind of access, not by intent.', '');
    for (const one of new Set(needless.map((record) => record.case))) {
      const record = needless.find((candidate) => candidate.case === one);
      if (record !== undefined) lines.push(`- ${name(record)}: ${record.summary ?? ''}.`);
    }
    lines.push('');
  }
  if (options.beside !== undefined) lines.push(...kernelSection(run, options.beside, name));
  const remedies = REMEDIES.map((remedy) => ({
    remedy,
    cases: [
      ...new Map(
        [...told].filter((record) => remedy.word.test(record.remedy ?? '')).map((record) => [record.case, record]),
      ).values(),
    ],
  })).filter(({ cases }) => cases.length > 0);
  if (remedies.length > 0) {
    lines.push('## What would help', '');
    for (const { remedy, cases } of remedies)
      lines.push(`- **${remedy.name}** (${cases.map(name).join(', ')}). ${remedy.text}`);
    lines.push('');
  }
  return lines.join('\n');
}
