/** report.md: the same content as the terminal's tables, for a repository. A pure function of a run. */
import type { CorruptionRecord, Run } from '../record/records.js';
import { MECHANISMS } from '../record/words.js';
import { costTables, experimentsOf } from './cost-tables.js';
import {
  addedPerCallout,
  applicationRates,
  faultTimelines,
  fitsOf,
  gateParts,
  koffiKeys,
  ladders,
  modelSteps,
  rateAt,
  suffered,
} from './derived.js';
import { formatBytes, formatCount, formatNs } from './format.js';
import { answer } from './html/answer.js';
import { costs, keyModel, sizeOf, timesText, valueOf } from './html/figures.js';
import { textOf } from './html/markup.js';
import { spacesSeen } from './html/matrix.js';
import { hasPicture, modelText, PICTURE_TITLE } from './html/picture.js';
import { methodFacts } from './method.js';
import {
  aftermathTable,
  type Cell,
  columnOf,
  corruptionOf,
  environment,
  honestTable,
  matrices,
  rangeText,
  skippedTable,
  surprises,
  type Table,
  totals,
  verdictText,
} from './model.js';
import { warningsOf } from './warnings.js';

/** Text in a table's cell. */
function escape(text: string): string {
  return text
    .replace(/\\/g, '\\\\')
    .replace(/\|/g, '\\|')
    .replace(/</g, '&lt;')
    .replace(/\s*\n\s*/g, ' ');
}

function table({ title, head, rows, notes, numericFrom }: Table, level: string): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    `${level} ${title}`,
    '',
    line(head.map(escape)),
    line(head.map((_, at) => (numericFrom !== undefined && at >= numericFrom ? '---:' : '---'))),
    ...rows.map((row) =>
      line(row.map((cell) => (cell.tone === 'bad' ? `**${escape(cell.text)}**` : escape(cell.text)))),
    ),
    ...(notes.length > 0 ? ['', ...notes.map((note) => `- ${note}`)] : []),
    '',
  ].join('\n');
}

function evidenceLine(record: CorruptionRecord): string {
  const { evidence } = record;
  const { fault, process, diff } = evidence;
  const parts = [
    ...(fault === null
      ? []
      : [
          `${fault.siCodeName}, key ${fault.pkey ?? '-'}, ${fault.access} at ` +
            `${fault.address}${fault.space === null ? '' : ` in '${fault.space}'`}`,
          `pc ${fault.symbol ?? fault.pc}${fault.pcModule === null ? '' : ` of ${fault.pcModule.split('/').pop() ?? ''}`}`,
        ]),
    ...(diff === null || diff.changedBytes === 0
      ? []
      : [
          `${diff.changedBytes} bytes ` +
            `changed${diff.ranges[0] === undefined ? '' : `, first ${rangeText(diff.ranges[0])}`}`,
        ]),
    ...(evidence.errno === null ? [] : [`kernel answered ${evidence.errno}`]),
    ...(process.signal === null ? [] : [`died of ${process.signal}, image ${process.imageAtDeath} at death`]),
    ...(process.timedOut ? ['past the time limit'] : []),
  ];
  return parts.join('; ') || evidence.because;
}

const plain = (text: string): Cell => ({ text, tone: 'plain' });

function ladderTables(run: Run): readonly Table[] {
  return ladders(run).map(({ lane, rungs }) => ({
    title: `Cost ladder, ${lane} lane`,
    head: ['way', 'image', 'cost'],
    notes: [],
    numericFrom: 1,
    rows: rungs.map(({ label, cost }) => [
      plain(label),
      plain(sizeOf(cost) === undefined ? '' : formatBytes(sizeOf(cost) ?? 0)),
      plain(valueOf(cost, cost.value)),
    ]),
  }));
}

function breakEvenTable(run: Run): Table {
  const added = addedPerCallout(run);
  const model = keyModel(run);
  const mechanisms = MECHANISMS.filter((mechanism) => added.some((one) => one.mechanism === mechanism));
  const rate = (ns: number): string => (rateAt(ns) >= 10 ? formatCount(rateAt(ns)) : rateAt(ns).toPrecision(2));
  return {
    title: 'Callouts a second at which a mechanism costs 1 % of a processor',
    head: ['image', ...mechanisms, ...(model === null ? [] : ['pkeys, model'])],
    numericFrom: 1,
    rows: [...new Set(added.map(({ sizeBytes }) => sizeBytes))]
      .sort((a, b) => a - b)
      .map((size) => [
        plain(formatBytes(size)),
        ...mechanisms.map((mechanism): Cell => {
          const found = added.find((one) => one.sizeBytes === size && one.mechanism === mechanism);
          return found === undefined ? { text: '', tone: 'missing' } : plain(rate(found.ns));
        }),
        ...(model === null ? [] : [plain(`${rate(model.mostNs)} to ${rate(model.leastNs)}`)]),
      ]),
    notes: [
      'native lane: what a mechanism adds to one callout, times the callouts of a second',
      ...(model === null ? [] : [`pkeys, model: not measured; ${modelText(model)}`]),
    ],
  };
}

function ratesTable(run: Run): Table {
  const rates = applicationRates(run, 'applications');
  const mechanisms = MECHANISMS.filter((mechanism) =>
    rates.some(({ slowdowns }) => slowdowns.some(({ cost }) => cost.mechanism === mechanism)),
  );
  return {
    title: 'Callouts a second in whole applications',
    head: ['application', 'one unit', 'unguarded', 'callouts a second', 'callbacks a second', ...mechanisms],
    notes: [],
    numericFrom: 2,
    rows: rates.map(({ application, unit, baseline, calloutsPerSecond, callbacksPerSecond, slowdowns }) => [
      plain(application),
      plain(unit),
      plain(valueOf(baseline, baseline.value)),
      plain(formatCount(calloutsPerSecond)),
      plain(formatCount(callbacksPerSecond)),
      ...mechanisms.map((mechanism): Cell => {
        const ratio = slowdowns.find(({ cost }) => cost.mechanism === mechanism)?.ratio;
        return plain(ratio == null ? '' : timesText(ratio.ratio));
      }),
    ]),
  };
}

function timelineTable(run: Run): Table {
  const all = faultTimelines(run);
  const names = [...new Set(all.flatMap(({ parts }) => parts.map(({ name }) => name)))];
  return {
    title: 'From the bad store to the caught error: parts of one failed callout',
    head: ['lane', 'mechanism', 'fault', ...names],
    numericFrom: 3,
    notes: [],
    rows: all.map(({ lane, unit, mechanism, occurrence, parts }) => [
      plain(lane),
      plain(mechanism),
      plain(occurrence === 'first' ? 'the first of its process' : 'a later one'),
      ...names.map((name) => {
        const part = parts.find((one) => one.name === name);
        return plain(part === undefined ? '' : valueOf({ unit }, part.value));
      }),
    ]),
  };
}

function koffiTable(run: Run): Table {
  const known = koffiKeys(run);
  return {
    title: 'A callout from JavaScript under keys: measured flag, counted difference',
    head: ['call', 'flag, measured', 'rights writes', 'keys add, counted', 'keys add, model'],
    numericFrom: 1,
    rows: known.map(({ signature, flag, rightsWrites, moreInstructions, model }) => [
      plain(signature),
      plain(valueOf(flag, flag.value)),
      plain(String(rightsWrites)),
      plain(moreInstructions === null ? 'not counted' : `${formatCount(moreInstructions)} instr.`),
      plain(model === null ? '' : `${formatNs(model.leastNs)} to ${formatNs(model.mostNs)}`),
    ]),
    notes: ['nothing from JavaScript is counted; the two parts are of different units and are not added up'],
  };
}

function modelTable(run: Run): Table {
  const steps = modelSteps(run);
  const cycles = [...new Set(steps.map((step) => step.cycles))].sort((a, b) => a - b);
  return {
    title: 'A model, which protects nothing: what a delay in place of each rights write adds to the trap',
    head: ['application', ...cycles.map((count) => `${count} cycles`)],
    numericFrom: 1,
    rows: [...new Set(steps.map(({ application }) => application))].map((application) => [
      plain(application),
      ...cycles.map((count): Cell => {
        const step = steps.find((one) => one.application === application && one.cycles === count);
        return plain(
          step === undefined
            ? ''
            : `${timesText(step.overFlag.ratio)} (${timesText(step.overFlag.interval.low)} to ` +
                `${timesText(step.overFlag.interval.high)})`,
        );
      }),
    ]),
    notes: [
      '× is how many times the same work under flag, by pairs, with its 95 % interval; model lane, no ' +
        'measurement of keys',
    ],
  };
}

function gateTable(run: Run): Table {
  return {
    title: 'What the parts of the gate add',
    head: ['lane', 'part', 'adds'],
    numericFrom: 2,
    notes: [],
    rows: gateParts(run).map(({ lane, unit, part, value }) => [
      plain(lane),
      plain(part),
      plain(valueOf({ unit }, value)),
    ]),
  };
}

function sufferedTable(run: Run): Table {
  return {
    title: 'Bystanders: faults, waits and unprotected windows while another thread makes callouts',
    head: ['work', 'threads', 'mechanism', 'faults', 'waited', 'windows'],
    numericFrom: 3,
    notes: [],
    rows: [...suffered(run, 'threads'), ...suffered(run, 'lua-threads')].map(
      ({ cost, threads, work, faults, waitedNs, windows }) => [
        plain(work),
        plain(`${threads}${threads >= run.context.host.cores ? ' (oversubscribed)' : ''}`),
        plain(cost.mechanism),
        plain(formatCount(faults)),
        plain(waitedNs === 0 ? '0' : formatNs(waitedNs)),
        plain(formatCount(windows)),
      ],
    ),
  };
}

function fitsTable(run: Run): Table {
  const found = experimentsOf(run).flatMap((experiment) =>
    fitsOf(costs(run).filter((cost) => cost.experiment === experiment)),
  );
  return {
    title: 'Straight lines through costs by pages of 4 KiB',
    head: ['experiment', 'lane', 'mechanism', 'variation', 'intercept', 'per page', 'r²'],
    numericFrom: 4,
    notes: ['a slope of zero is what “keys are flat” means'],
    rows: found.map(({ first, variant, intercept, perPage, rSquared }) => [
      plain(first.experiment),
      plain(first.lane),
      plain(first.mechanism),
      plain(variant),
      plain(valueOf(first, intercept)),
      plain(first.unit === 'ns' ? `${perPage.toFixed(2)} ns` : `${perPage.toFixed(3)} instr.`),
      plain(rSquared === undefined ? 'constant' : rSquared.toFixed(4)),
    ]),
  };
}

function spacesTable(run: Run): Table {
  const spaces = corruptionOf(run).length === 0 ? [] : spacesSeen(run);
  return {
    title: 'The image and its keys',
    head: ['space', 'size', 'key', 'stores stopped', 'landed'],
    numericFrom: 3,
    notes:
      spaces.length === 0
        ? []
        : [
            "everything else (malloc's heap, globals, thread-local storage, other stacks) is on key 0: never " +
              'denied, not protected',
          ],
    rows: spaces.map(({ name, bytes, keys, stopped, landed }) => [
      plain(name),
      plain(bytes === undefined ? '' : formatBytes(bytes)),
      plain(keys.join(' or ')),
      plain(String(stopped)),
      plain(String(landed)),
    ]),
  };
}

function warningLines(run: Run): readonly string[] {
  const found = warningsOf(run);
  if (found.length === 0) return [];
  return [
    '## Warnings',
    '',
    ...found.map(
      ({ text, remedy, rows, of }) =>
        `- ${escape(text)}${remedy === '' ? '' : `: **${escape(remedy)}**`} ` +
        `(${escape(rows === 0 ? of.join('; ') : `${formatCount(rows)} ${rows === 1 ? 'row' : 'rows'}: ` + `${of.slice(0, 6).join('; ')}${of.length > 6 ? '; …' : ''}`)})`,
    ),
    '',
  ];
}

/** The report as Markdown. `picture`: the name of the main picture's file beside it. */
export function renderMarkdown(run: Run, picture = 'cost.svg'): string {
  const found = surprises(run);
  const records = corruptionOf(run);
  const evidence: Table = {
    title: 'Evidence',
    head: ['case', 'mechanism', 'lane', 'verdict', 'expected', 'evidence'],
    notes: [],
    rows: records.map((record) =>
      [
        record.case,
        columnOf(record),
        record.lane,
        verdictText(record),
        record.expected.verdicts.join(' or '),
        evidenceLine(record),
      ].map(plain),
    ),
  };
  const numbers = costTables(run);
  return [
    '# Turnkey: what protection keys prevent around foreign calls, and what they cost',
    '',
    ...answer(run).map(({ about, text }) => `**${about}.** ${escape(textOf(text))}\n`),
    ...(hasPicture(run) ? [`![${PICTURE_TITLE}](${picture})`, ''] : []),
    '## Surprises',
    '',
    ...(found.length === 0
      ? ['None: every verdict was an expected one.', '']
      : found.flatMap(({ title, lines }) => [
          `- **${escape(title)}**`,
          ...lines.map((line) => `  - ${escape(line)}`),
          '',
        ])),
    ...matrices(run).map((one) => table(one, '##')),
    ...(records.length === 0
      ? []
      : [
          'A bold cell is one in which the image, or the host, did not come through. `!` was not expected; `?` ' +
            'differed between repetitions.',
          '',
          table(totals(run), '###'),
          table(aftermathTable(run), '###'),
        ]),
    table(honestTable(run), '##'),
    ...ladderTables(run).map((one) => table(one, '##')),
    table(breakEvenTable(run), '##'),
    table(ratesTable(run), '##'),
    table(modelTable(run), '##'),
    table(timelineTable(run), '##'),
    table(koffiTable(run), '##'),
    table(gateTable(run), '##'),
    table(sufferedTable(run), '##'),
    ...(numbers.length === 0 ? [] : ['## Costs of one operation', '']),
    ...numbers.map((one) => table(one, '###')),
    table(fitsTable(run), '##'),
    table(spacesTable(run), '##'),
    table(environment(run), '##'),
    '## Method',
    '',
    ...methodFacts(run).map(({ name, text }) => `- **${name}**: ${escape(textOf(text))}`),
    '',
    ...warningLines(run),
    table(skippedTable(run), '##'),
    table(evidence, '##'),
    'Made by `turnkey report` from run.json alone; all samples are there, and in report.html.',
    '',
  ]
    .filter((part, at, all) => part !== '' || all[at - 1] !== '')
    .join('\n')
    .replace(/\n{3,}/g, '\n\n');
}
