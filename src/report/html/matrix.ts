/** The corruption matrix: cases by mechanisms, a verdict in each cell, the evidence behind it. */
import { gzipSync } from 'node:zlib';

import type { CorruptionRecord, Evidence, Run, SkippedRecord } from '../../record/records.js';
import { CASE_GROUPS, caseFile, type Lane, LANES, type Mechanism, VERDICTS } from '../../record/words.js';
import { formatBytes, formatCount } from '../format.js';
import {
  aftermathTable,
  columnOf,
  columnsOf,
  corruptionOf,
  laneTitle,
  rangeText,
  skippedOf,
  type Tone,
  toneOf,
  totals,
  verdictText,
} from '../model.js';
import { type Content, html, type Markup, slug } from './markup.js';
import { plainTable } from './table.js';
import { MECHANISM_LOOKS, VERDICT_LOOKS } from './words.js';

/** A row of a matrix. */
interface Row {
  readonly name: string;
  /** What its mechanisms were varied by, where few cases were tried so: a row of its own then, not a column. */
  readonly variant: string;
  readonly group: string;
  readonly summary: string;
}

/** What a record's mechanism was varied by: the rest of its column's name. */
const variantOf = (record: CorruptionRecord): string =>
  columnOf(record).slice(record.mechanism.length).replace(/^, /, '');

/** A variation that fewer than this share of a lane's cases were tried under gets rows. */
const FEW = 0.25;

const SIGNS: Readonly<Record<Tone, string>> = { good: '✓', bad: '✗', neutral: '†', missing: '', plain: '' };

/** The id of a cell's evidence, stable across reports: what a link names. */
export function cellId(record: CorruptionRecord): string {
  return slug(record.lane, record.case, columnOf(record));
}

/**
 * A cell's button. A run has thousands: where its id and its spoken name follow from its row and column, the script
 * gives it both. `told`: the row and column do not tell.
 */
function badge(record: CorruptionRecord, told: boolean): Markup {
  const tone = toneOf(record);
  const { letter } = VERDICT_LOOKS[record.verdict];
  const marks = `${record.surprise ? '!' : ''}${record.unstable ? '?' : ''}`;
  const sign = record.verdict === 'damaged' && record.announced === true ? '*' : '';
  const spoken =
    verdictText(record) === record.verdict && !record.surprise
      ? null
      : `${columnOf(record)}: ${verdictText(record)}${record.surprise ? ', not expected' : ''}`;
  return html`<button
    class="badge ${tone}${record.surprise && ' surprise'}"
    ${told && html` data-cell="${cellId(record)}"`}${spoken !== null && html` aria-label="${spoken}"`}
  >
    <i>${SIGNS[tone]}</i><b>${record.verdict}${sign}</b
    ><u>${letter}${sign}</u>${marks !== '' && html`<em>${marks}</em>`}
  </button>`;
}

function pairs(list: readonly (readonly [string, Content])[]): Markup {
  return html`<dl>
    ${list
      .filter(([, value]) => value !== null && value !== '' && value !== false)
      .map(
        ([name, value]) =>
          html`<dt>${name}</dt>
            <dd>${value}</dd>`,
      )}
  </dl>`;
}

function faultText({ fault }: Evidence): Content {
  if (fault === null) return null;
  const where =
    fault.space === null
      ? ''
      : ` in space ‘${fault.space}’${fault.spaceKey === null ? '' : `, whose key is ${fault.spaceKey}`}`;
  return html`${fault.signal}, ${fault.siCodeName} (si_code
    ${fault.siCode})${fault.pkey === null ? '' : `, key ${fault.pkey}`}: ${fault.access} at
    <code>${fault.address}</code>${where}`;
}

function processText({ process }: Evidence): string {
  const last = process.lastSignal;
  return [
    process.timedOut ? 'past its time limit' : '',
    process.signal === null
      ? process.exitCode === null
        ? ''
        : `exit code ${process.exitCode}`
      : `ended by ${process.signal}`,
    `came as far as ‘${process.stage}’`,
    process.imageAtDeath === 'unknown'
      ? ''
      : 'image at death: ' +
        `${process.imageAtDeath}${process.changedBytesAtDeath > 0 ? `, ${formatCount(process.changedBytesAtDeath)} bytes changed` : ''}`,
    last === null
      ? ''
      : `last signal seen ${last.signal}, si_code ` +
        `${last.siCode}${last.pkey === undefined ? '' : `, key ${last.pkey}`}${last.address === undefined ? '' : ` at ${last.address}`}${last.mainThread ? '' : ', on another thread'}`,
  ]
    .filter((part) => part !== '')
    .join('; ');
}

function evidencePanel(record: CorruptionRecord, sourceBase: string): Markup {
  const { evidence, expected } = record;
  const { diff, fault } = evidence;
  const tone = toneOf(record);
  const failed = evidence.aftermath.filter((step) => !step.ok);
  const id = cellId(record);
  const path = caseFile(record.group, record.case);
  return html`<article id="${id}">
    <h3>${record.case} <span class="lead">under</span> ${columnOf(record)}</h3>
    <p class="lead">
      ${record.group}, ${record.lane}
      lane${record.deny === 'access' ? ', reads and writes denied' : ''}${record.keys === 'space' ? ', a key for each space' : ''}
    </p>
    ${record.summary !== undefined && html`<p>Case: ${record.summary}</p>`}
    <p><span class="badge ${tone}">${SIGNS[tone]} ${verdictText(record)}</span> ${evidence.because}</p>
    ${pairs([
      [
        'Expected',
        html`${expected.verdicts.join(' or ')}:
        ${expected.why}${record.surprise ? html` <b>This was not expected.</b>` : ''}`,
      ],
      ['Fault', faultText(evidence)],
      [
        'Instruction',
        fault === null
          ? null
          : html`<code>${fault.pc}</code
              >${fault.symbol === null ? '' : html` <code>${fault.symbol}</code>`}${fault.pcModule === null ? '' : html` of <code>${fault.pcModule}</code>`}`,
      ],
      ['Error said', fault === null ? null : `phase ${fault.phase}, image ${fault.image}`],
      [
        'Image',
        diff === null
          ? null
          : html`${diff.changedBytes === 0 ? 'equal to its snapshot' : html`<b>${formatCount(diff.changedBytes)} bytes changed</b>: ${diff.ranges.map(rangeText).join('; ')}`}${diff.heap === null ? '' : html`<br />objects: ${diff.heap}`}`,
      ],
      [
        'Restored',
        evidence.restored === undefined
          ? null
          : evidence.restored.equal
            ? `equal to the snapshot again: restore() wrote ${formatCount(evidence.restored.bytes)} bytes; ` +
              `${evidence.restored.heap}`
            : html`<b>not equal again</b>: ${evidence.restored.heap}`,
      ],
      ['Kernel answered', evidence.errno],
      ['Answer', evidence.answer],
      [
        'Canaries',
        evidence.canaries.length === 0
          ? null
          : evidence.canaries.map(({ name, intact }) => `${name}: ${intact ? 'intact' : 'damaged'}`).join('; '),
      ],
      [
        'Does not hold',
        evidence.missing.length === 0
          ? null
          : html`<ul>
              ${evidence.missing.map((text) => html`<li>${text}</li>`)}
            </ul>`,
      ],
      [
        'Aftermath',
        evidence.aftermath.length === 0
          ? null
          : failed.length === 0
            ? `all ${evidence.aftermath.length} steps work: ${evidence.aftermath.map(({ step }) => step).join(', ')}`
            : html`<ul>
                ${evidence.aftermath.map(({ step, ok, detail }) => html`<li>${ok ? '✓' : '✗'} ${step}${detail === '' ? '' : `: ${detail}`}</li>`)}
              </ul>`,
      ],
      ['Process', processText(evidence)],
      ['Repetitions', record.repetitions.length < 2 ? null : record.repetitions.join(', ')],
      ['Would stop it', record.remedy ?? null],
      [
        'Notes',
        evidence.notes.length === 0
          ? null
          : html`<ul>
              ${evidence.notes.map((text) => html`<li>${text}</li>`)}
            </ul>`,
      ],
      ['Seed', record.seed],
      ['Source', html`<a href="${sourceBase}${path}">${path}</a>`],
      [
        'Again',
        html`<code
          >turnkey run corruption --case ${record.case} --mechanism ${record.mechanism} --lane
          ${record.lane}${record.deny === 'access' && ' --deny access'}${record.keys === 'space' && ' --keys space'}</code
        >`,
      ],
    ])}
    ${
      evidence.process.stderr === ''
        ? ''
        : html`<p class="lead">Last lines of standard error</p>
            <pre>${evidence.process.stderr}</pre>`
    }
  </article>`;
}

function rowsOf(
  here: readonly CorruptionRecord[],
  missing: readonly SkippedRecord[],
  all: readonly CorruptionRecord[],
  rare: ReadonlySet<string>,
): readonly Row[] {
  const known = new Map([...all, ...here].map((record) => [record.case, record]));
  const keys = new Map<string, readonly [string, string]>();
  for (const { name } of missing) keys.set(`${name}/`, [name, '']);
  for (const record of here) {
    const variant = rare.has(columnOf(record)) ? variantOf(record) : '';
    keys.set(`${record.case}/${variant}`, [record.case, variant]);
  }
  const rows = [...keys.values()].map(([name, variant]): Row => ({
    name,
    variant,
    group: known.get(name)?.group ?? 'not tried',
    summary: known.get(name)?.summary ?? '',
  }));
  const rank = (group: string): number => {
    const at = (CASE_GROUPS as readonly string[]).indexOf(group);
    return at < 0 ? CASE_GROUPS.length : at;
  };
  const surprising = new Set(here.filter((record) => record.surprise || record.unstable).map((record) => record.case));
  return rows.sort(
    (a, b) =>
      rank(a.group) - rank(b.group) ||
      Number(surprising.has(b.name)) - Number(surprising.has(a.name)) ||
      (a.name < b.name ? -1 : a.name > b.name ? 1 : a.variant < b.variant ? -1 : 1),
  );
}

function laneMatrix(
  run: Run,
  lane: Lane,
  sourceBase: string,
  open: boolean,
): { readonly block: Markup; readonly evidence: readonly Markup[] } {
  const all = corruptionOf(run);
  const here = all.filter((record) => record.lane === lane);
  const missing = skippedOf(run).filter((record) => record.of === 'corruption' && record.lane === lane);
  const cases = new Set([...here.map((record) => record.case), ...missing.map(({ name }) => name)]);
  const every = columnsOf(
    here,
    missing.map((record) => record.mechanism),
  );
  const rare = new Set(
    every
      .filter(
        ({ column, mechanism }) =>
          column !== mechanism && here.filter((record) => columnOf(record) === column).length < FEW * cases.size,
      )
      .map(({ column }) => column),
  );
  const columns = every.filter(({ column }) => !rare.has(column));
  const rows = rowsOf(here, missing, all, rare);
  const byCell = new Map(here.map((record) => [`${record.case}/${columnOf(record)}`, record]));
  const skippedBy = new Map(missing.map((record) => [`${record.name}/${record.mechanism}`, record]));
  const cell = (row: Row, column: string, mechanism: Mechanism): Markup => {
    const record = byCell.get(`${row.name}/${row.variant === '' ? column : `${mechanism}, ${row.variant}`}`);
    if (record !== undefined && (row.variant === '' || column === mechanism))
      return html`<td>${badge(record, row.variant !== '')}</td>`;
    const skipped = row.variant === '' ? skippedBy.get(`${row.name}/${mechanism}`) : undefined;
    return html`<td>
      <span class="badge missing" title="${skipped?.reason ?? 'not in this run'}"
        >${skipped === undefined ? '–' : html`<b>skipped</b><u aria-hidden="true">–</u>`}</span
      >
    </td>`;
  };
  const groups = [...new Set(rows.map(({ group }) => group))];
  return {
    block: html`<details class="lane-block" ${open && html` open`}>
      <summary>
        ${laneTitle(run, lane)}
        <span class="lead"
          >${cases.size} ${cases.size === 1 ? 'case' : 'cases'},
          ${here.length === 0 ? 'none tried' : `${formatCount(here.length)} cells tried`}</span
        >
      </summary>
      <table class="matrix" data-lane="${slug(lane)}" style="--columns:${columns.length}">
        <caption class="lead">
          Verdicts by case and mechanism. Each opens its evidence; arrow keys move between cells.
        </caption>
        <colgroup>
          <col class="case" />
          ${columns.map(() => html`<col class="m" />`)}
        </colgroup>
        <thead>
          <tr>
            <th scope="col">case</th>
            ${columns.map(({ column, mechanism }) => html`<th scope="col" class="m m-${MECHANISM_LOOKS[mechanism].ink}" data-column="${slug(column)}"><span>${column}</span></th>`)}
          </tr>
        </thead>
        ${groups.map(
          (group) =>
            html`<tbody>
              <tr class="group">
                <th scope="rowgroup" colspan="${columns.length + 1}">${group}</th>
              </tr>
              ${rows
                .filter((row) => row.group === group)
                .map(
                  (row) =>
                    html`<tr data-case="${slug(row.name)}">
                      <th scope="row" ${row.summary !== '' && html` title="${row.summary}"`}>
                        ${row.name}${row.variant !== '' && html` <span class="lead">${row.variant}</span>`}
                      </th>
                      ${columns.map(({ column, mechanism }) => cell(row, column, mechanism))}
                    </tr>`,
                )}
            </tbody>`,
        )}
      </table>
    </details>`,
    evidence: here.map((record) => evidencePanel(record, sourceBase)),
  };
}

/** Text for a page, packed: the evidence of a full run is large, and the same again and again. Base64 of gzip. */
export function packed(text: string): string {
  const bytes = gzipSync(text, { level: 9 });
  bytes[9] = 255; // the operating system in gzip's header (RFC 1952, 2.3) must not depend on the machine
  return bytes.toString('base64');
}

/** The section. Null where nothing of it was tried or skipped. */
export function matrixSection(run: Run, sourceBase: string): Markup | null {
  const all = corruptionOf(run);
  const skipped = skippedOf(run).filter((record) => record.of === 'corruption');
  if (all.length + skipped.length === 0) return null;
  const lanes = LANES.filter((lane) => [...all, ...skipped].some((record) => record.lane === lane));
  const hasKeys = (lane: Lane): boolean => all.some((record) => record.lane === lane && record.mechanism === 'pkeys');
  const ordered = [...lanes].sort((a, b) => Number(hasKeys(b)) - Number(hasKeys(a)));
  const blocks = ordered.map((lane, at) => laneMatrix(run, lane, sourceBase, at === 0));
  const seen = VERDICTS.filter((verdict) => all.some((record) => record.verdict === verdict));
  const after = aftermathTable(run);
  const toneFor: Readonly<Record<string, Tone>> = {
    prevented: 'good',
    refused: 'good',
    trapped: 'good',
    harmless: 'good',
    crashed: 'neutral',
  };
  return html`<ul class="key" aria-label="Verdicts">
      ${seen.map((verdict) => html`<li><span class="badge ${toneFor[verdict] ?? 'bad'}" aria-hidden="true">${VERDICT_LOOKS[verdict].letter}</span><b>${verdict}</b> ${VERDICT_LOOKS[verdict].meaning}</li>`)}
      <li><b>!</b> not expected</li>
      ${all.some((record) => record.unstable) && html`<li><b>?</b> repetitions differed</li>`}${all.some((record) => record.verdict === 'damaged' && record.announced === true) && html`<li><b>*</b> damaged, but a fault was raised as well</li>`}
    </ul>
    ${blocks.map(({ block }) => block)}
    <h3>Totals</h3>
    ${plainTable(totals(run), 'Totals per mechanism')}
    ${
      after.rows.length > 0 &&
      html`<h3>${after.title}</h3>
        ${plainTable(after, after.title)}`
    }
    <noscript
      ><p>
        The evidence behind the cells opens by a script; report.md has it as text, and the raw data in full.
      </p></noscript
    >
    <dialog id="evidence" class="evidence" aria-label="Evidence">
      <button type="button" class="plain-button close" autofocus>Close</button>
      <div></div>
    </dialog>
    <script type="application/octet-stream" id="evidence-data">
      ${packed(blocks.flatMap(({ evidence }) => evidence.map(({ text }) => text)).join('\n'))}
    </script>`;
}

/** A space of the image, and what a run saw of it. */
export interface SpaceSeen {
  readonly name: string;
  readonly bytes: number | undefined;
  /** Key numbers that the kernel reported with faults in it, under a mechanism with keys. */
  readonly keys: readonly number[];
  readonly stopped: number;
  readonly landed: number;
}

/** The image's spaces: their keys as faults showed them, and how many stores each saw stopped or land. */
export function spacesSeen(run: Run): readonly SpaceSeen[] {
  const all = corruptionOf(run);
  const names = [
    ...new Set([
      ...(run.context.spaces ?? []).map(({ name }) => name),
      ...all.flatMap((record) => record.evidence.fault?.space ?? []),
      ...all.flatMap((record) => record.evidence.diff?.ranges.map(({ space }) => space) ?? []),
    ]),
  ];
  return names.map((name): SpaceSeen => {
    const faults = all.filter((record) => record.evidence.fault?.space === name);
    const keys = faults
      .filter((record) => record.mechanism.startsWith('pkeys'))
      .flatMap((record) => record.evidence.fault?.spaceKey ?? []);
    return {
      name,
      bytes: run.context.spaces?.find((space) => space.name === name)?.bytes,
      keys: [...new Set(keys)].sort((a, b) => a - b),
      stopped: faults.filter((record) => record.verdict === 'prevented').length,
      landed: all.filter(
        (record) =>
          record.verdict === 'damaged' && record.evidence.diff?.ranges.some(({ space }) => space === name) === true,
      ).length,
    };
  });
}

/** A map of the image. Null where no trial had one. */
export function spacesSection(run: Run): Markup | null {
  const spaces = corruptionOf(run).length === 0 ? [] : spacesSeen(run);
  if (spaces.length === 0) return null;
  return html`<p>
      Under <code>pkeys</code>, each of these pages carries a key whose write right is taken away while foreign code
      runs. Key numbers are as the kernel reported them with faults; they may differ between runs.
    </p>
    <ul class="spaces">
      ${spaces.map(
        ({ name, bytes, keys, stopped, landed }) =>
          html`<li>
            <b>${name}</b>${bytes !== undefined && html`${formatBytes(bytes)} `}<span
              class="keyno m-pkeys"
              style="color:var(--m)"
              >${keys.length === 0 ? 'key not seen in a fault' : `key ${keys.join(' or ')}`}</span
            ><br />stores stopped ${stopped}, landed ${landed}
          </li>`,
      )}
      <li class="open">
        <b>everything else</b>malloc's heap, the host's objects, globals, thread-local storage, other stacks<br /><span
          class="keyno"
          >key 0: never denied, not protected</span
        >
      </li>
    </ul>`;
}
