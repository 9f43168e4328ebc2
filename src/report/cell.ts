/** One cell of the corruption matrix with all its evidence, to be read in a terminal. A pure function of the record. */
import type { CorruptionRecord } from '../record/records.js';
import { caseFile } from '../record/words.js';
import { columnOf, rangeText, verdictText } from './model.js';

/** The text; ends with a line break. */
export function renderCell(record: CorruptionRecord): string {
  const { evidence, expected } = record;
  const { fault, process, diff } = evidence;
  const rows: [string, string][] = [];
  const row = (name: string, ...texts: readonly (string | null)[]): void => {
    texts
      .filter((text) => text !== null && text !== '')
      .forEach((text, at) => rows.push([at === 0 ? name : '', text ?? '']));
  };
  row('what', record.summary ?? null);
  row('verdict', `${verdictText(record)}: ${evidence.because}`);
  row('expected', `${expected.verdicts.join(' or ')}: ${expected.why}`);
  row(
    'trials',
    `${record.repetitions.length}${record.unstable ? `, which differ: ${record.repetitions.join(', ')}` : record.repetitions.length > 1 ? ', all the same' : ''}; ` +
      `seed ${record.seed}`,
  );
  if (fault !== null) {
    row(
      'fault',
      `${fault.signal} (${fault.siCodeName}), key ${fault.pkey ?? 'unknown'}, phase ${fault.phase}`,
      `${fault.access} at ` +
        `${fault.address}${fault.space === null ? ', outside every space' : ` in '${fault.space}', whose key is ${fault.spaceKey ?? 'unknown'}`}`,
      `pc ${fault.pc}${fault.symbol === null ? '' : `, ${fault.symbol}`}, ` +
        `${fault.pcModule === null ? 'in no module' : `of ${fault.pcModule}`}`,
      `the error says: image ${fault.image}`,
    );
  }
  row('not held', ...evidence.missing);
  if (evidence.answer !== null)
    row('answer', `${evidence.answer}${evidence.errno === null ? '' : ` (${evidence.errno})`}`);
  if (diff !== null)
    row(
      'image',
      diff.changedBytes === 0 ? 'equal to its snapshot' : `${diff.changedBytes} bytes changed`,
      ...diff.ranges.map(rangeText),
      diff.heap,
    );
  if (evidence.restored !== undefined)
    row(
      'restored',
      `${evidence.restored.equal ? `equal to its snapshot again, ${evidence.restored.bytes} bytes written` : 'NOT EQUAL again'}; ` +
        `${evidence.restored.heap}`,
    );
  row('host', ...evidence.canaries.map(({ name, intact }) => `${name}: ${intact ? 'intact' : 'NOT INTACT'}`));
  row(
    'aftermath',
    ...evidence.aftermath.map(
      ({ step, ok, detail }) => `${ok ? 'ok    ' : 'FAILED'} ${step}${detail === '' ? '' : `: ${detail}`}`,
    ),
  );
  const at = process.firstChangeAtDeath;
  row(
    'process',
    `stage '${process.stage}', ` +
      `${process.signal === null ? `exit code ${process.exitCode ?? 'unknown'}` : `ended by ${process.signal}`}${process.timedOut ? ', past its time limit' : ''}`,
    process.imageAtDeath === 'unknown'
      ? null
      : 'image at death: ' +
          `${process.imageAtDeath}${at === null ? '' : `, ${process.changedBytesAtDeath} bytes, first '${at.space}' +0x${at.offset.toString(16)}`}`,
    process.lastSignal === null
      ? null
      : `last signal: ${process.lastSignal.signal}, si_code ` +
          `${process.lastSignal.siCode}${process.lastSignal.address === undefined ? '' : ` at ${process.lastSignal.address}`}` +
          `${process.lastSignal.pkey === undefined ? '' : `, key ${process.lastSignal.pkey}`}, pc ` +
          `${process.lastSignal.pc}, ${process.lastSignal.mainThread ? 'main thread' : 'another thread'}`,
    process.stderr,
  );
  row('notes', ...evidence.notes);
  row('remedy', record.remedy ?? null);
  row('source', caseFile(record.group, record.case));
  const width = Math.max(...rows.map(([name]) => name.length));
  return (
    `${record.case} under ${columnOf(record)}, ${record.lane} ` +
    `lane\n${rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text.replaceAll('\n', `\n  ${' '.repeat(width)}  `)}\n`).join('')}`
  );
}
