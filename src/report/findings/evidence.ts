/** A cell of the matrix with all its evidence: named facts, the same for every renderer. Pure functions of a record. */
import type { CorruptionRecord, Evidence, FaultEvidence, LastSignal } from '../../record/records.js';
import { caseFile } from '../../record/words.js';
import { formatCount } from './format.js';
import { columnOf, rangeText, verdictText } from './records.js';
import type { Text } from './text.js';

/** One thing that is known of a trial; several texts are one below the other. */
export interface EvidenceFact {
  readonly name: string;
  readonly texts: readonly Text[];
  /** Part of the short line that stands for the whole evidence in a table. */
  readonly short?: string;
}

export interface CellEvidence {
  readonly record: CorruptionRecord;
  readonly title: string;
  readonly about: string;
  readonly facts: readonly EvidenceFact[];
  /** The last lines of standard error; empty where the process went on. */
  readonly stderr: string;
}

const moved = ({ spaceMoves = 0 }: FaultEvidence): string =>
  spaceMoves === 0 ? '' : ` (and changed ${spaceMoves === 1 ? 'once' : `${spaceMoves} times`} before it was looked at)`;

function faultTexts(fault: FaultEvidence): readonly Text[] {
  const key = fault.pkey === null ? '' : `, key ${fault.pkey}`;
  const where =
    fault.space === null
      ? ', outside every space'
      : ` in space ‘${fault.space}’, whose key was ${fault.spaceKey ?? 'unknown'}${moved(fault)}`;
  const symbol: readonly Text[] = fault.symbol === null ? [] : [' ', { code: fault.symbol }];
  const module: readonly Text[] = fault.pcModule === null ? [', in no module'] : [' of ', { code: fault.pcModule }];
  return [
    `${fault.signal}, ${fault.siCodeName} (si_code ${fault.siCode})${key}`,
    [`${fault.access} at `, { code: fault.address }, where],
    ['instruction ', { code: fault.pc }, ...symbol, ...module],
    `the error says: phase ${fault.phase}, image ${fault.image}`,
  ];
}

function faultShort({ siCodeName, pkey, access, address, space, symbol, pc, pcModule }: FaultEvidence): string {
  const where = space === null ? '' : ` in '${space}'`;
  const module = pcModule === null ? '' : ` of ${pcModule.split('/').pop() ?? ''}`;
  return `${siCodeName}, key ${pkey ?? '-'}, ${access} at ${address}${where}; pc ${symbol ?? pc}${module}`;
}

function signalText({ signal, siCode, address, pkey, pc, mainThread }: LastSignal): string {
  return [
    `last signal seen ${signal}, si_code ${siCode}`,
    pkey === undefined ? '' : `, key ${pkey}`,
    address === undefined ? '' : ` at ${address}`,
    `, pc ${pc}, ${mainThread ? 'main thread' : 'another thread'}`,
  ].join('');
}

function processTexts({ process }: Evidence): readonly Text[] {
  const { signal, exitCode, timedOut, stage, imageAtDeath, changedBytesAtDeath, firstChangeAtDeath, lastSignal } =
    process;
  const end =
    signal !== null ? `ended by ${signal}` : exitCode === null ? 'exit code unknown' : `exit code ${exitCode}`;
  const first =
    firstChangeAtDeath === null
      ? ''
      : `, first '${firstChangeAtDeath.space}' +0x${firstChangeAtDeath.offset.toString(16)}`;
  const changed = changedBytesAtDeath > 0 ? `, ${formatCount(changedBytesAtDeath)} bytes changed${first}` : '';
  return [
    `${timedOut ? 'past its time limit; ' : ''}${end}; came as far as ‘${stage}’`,
    ...(imageAtDeath === 'unknown' ? [] : [`image at death: ${imageAtDeath}${changed}`]),
    ...(lastSignal === null ? [] : [signalText(lastSignal)]),
  ];
}

function processShort({ process }: Evidence): string {
  return [
    ...(process.signal === null ? [] : [`died of ${process.signal}, image ${process.imageAtDeath} at death`]),
    ...(process.timedOut ? ['past the time limit'] : []),
  ].join('; ');
}

function imageTexts({ diff }: Evidence): readonly Text[] {
  if (diff === null) return [];
  return [
    diff.changedBytes === 0
      ? 'equal to its snapshot'
      : [{ strong: `${formatCount(diff.changedBytes)} bytes changed` }, ': ', diff.ranges.map(rangeText).join('; ')],
    ...(diff.heap === null ? [] : [`objects: ${diff.heap.text}`]),
  ];
}

function imageShort({ diff }: Evidence): string {
  if (diff === null || diff.changedBytes === 0) return '';
  const [first] = diff.ranges;
  return `${diff.changedBytes} bytes changed${first === undefined ? '' : `, first ${rangeText(first)}`}`;
}

function restoredTexts({ restored }: Evidence): readonly Text[] {
  if (restored === undefined) return [];
  return restored.equal
    ? [`equal to the snapshot again: restore() wrote ${formatCount(restored.bytes)} bytes; ${restored.heap}`]
    : [[{ strong: 'not equal again' }, `: ${restored.heap}`]];
}

function aftermathTexts({ aftermath }: Evidence): readonly Text[] {
  if (aftermath.length > 0 && aftermath.every(({ ok }) => ok))
    return [`all ${aftermath.length} steps work: ${aftermath.map(({ step }) => step).join(', ')}`];
  return aftermath.map(({ step, ok, detail }) => `${ok ? '✓' : '✗'} ${step}${detail === '' ? '' : `: ${detail}`}`);
}

/** The path of a case's source in the project. */
export function sourceOf(record: CorruptionRecord): string {
  return caseFile(record.group, record.case);
}

/** The command that makes this trial again. */
function commandOf({ case: name, mechanism, lane, deny, keys, harden }: CorruptionRecord): string {
  return (
    `turnkey run corruption --case ${name} --mechanism ${mechanism} --lane ` +
    `${lane}${deny === 'access' ? ' --deny access' : ''}${keys === 'space' ? ' --keys space' : ''}` +
    (harden === undefined ? '' : ` --harden ${harden}`)
  );
}

/** All that is known of a cell. */
export function evidenceOf(record: CorruptionRecord): CellEvidence {
  const { evidence, expected, repetitions } = record;
  const { fault, canaries } = evidence;
  const fact = (name: string, texts: readonly (Text | null)[], short?: string): readonly EvidenceFact[] => {
    const said = texts.flatMap((text) => (text === null || text === '' ? [] : [text]));
    return said.length === 0 ? [] : [{ name, texts: said, ...(short === undefined || short === '' ? {} : { short }) }];
  };
  const trials =
    repetitions.length === 1
      ? '1'
      : `${repetitions.length}, ${record.unstable ? `which differ: ${repetitions.join(', ')}` : 'all the same'}`;
  return {
    record,
    title: `${record.case} under ${columnOf(record)}`,
    about:
      `${record.group}, ${record.lane} lane` +
      (record.deny === 'access' ? ', reads and writes denied' : '') +
      (record.keys === 'space' ? ', a key for each space' : '') +
      (record.harden === undefined ? '' : `, hardened: ${record.harden}`),
    facts: [
      ...fact('Case', [record.summary ?? null]),
      ...fact('Verdict', [`${verdictText(record)}: ${evidence.because}`]),
      ...fact('Expected', [
        [
          `${expected.verdicts.join(' or ')}: ${expected.why}`,
          ...(record.surprise ? [' ', { strong: 'This was not expected.' }] : []),
        ],
      ]),
      ...(fault === null ? [] : fact('Fault', faultTexts(fault), faultShort(fault))),
      ...fact('Does not hold', evidence.missing),
      ...fact(
        'Kernel answered',
        [evidence.errno],
        evidence.errno === null ? undefined : `kernel answered ${evidence.errno}`,
      ),
      ...fact('Answer', [evidence.answer]),
      ...fact('Image', imageTexts(evidence), imageShort(evidence)),
      ...fact('Restored', restoredTexts(evidence)),
      ...fact(
        'Canaries',
        canaries.map(({ name, intact }) => `${name}: ${intact ? 'intact' : 'damaged'}`),
      ),
      ...fact('Aftermath', aftermathTexts(evidence)),
      ...fact('Process', processTexts(evidence), processShort(evidence)),
      ...fact('Trials', [`${trials}; seed ${record.seed}`]),
      ...fact('Would stop it', [record.remedy?.text ?? null]),
      ...fact('Notes', evidence.notes),
      ...fact('Source', [{ link: sourceOf(record), to: sourceOf(record) }]),
      ...fact('Again', [{ code: commandOf(record) }]),
    ],
    stderr: evidence.process.stderr,
  };
}

/** The evidence in one line. */
export function evidenceLine({ record, facts }: CellEvidence): string {
  return facts.flatMap(({ short }) => short ?? []).join('; ') || record.evidence.because;
}
