/** The corruption matrix: cases by mechanisms, a verdict in each cell, and the evidence that a cell opens. */
import type { CorruptionRecord } from '../../record/records.js';
import { packed } from '../../record/store.js';
import { type Verdict, VERDICTS } from '../../record/words.js';
import type { CellEvidence, EvidenceFact } from '../findings/evidence.js';
import { columnOf, outcomeText, toneOf, verdictText } from '../findings/records.js';
import { type Cell, cellText, type Column, type Row, type Table, type Tone } from '../findings/table.js';
import { plainText, type Text } from '../findings/text.js';
import { VERDICT_MEANINGS } from '../findings/words.js';
import { LOOKS, TONE_SIGNS, VERDICT_LETTERS } from './looks.js';
import { html, type Markup, slug } from './markup.js';
import { textMarkup } from './text.js';

/** The id of a cell's evidence, stable across reports: what a link names. */
export function cellId(record: CorruptionRecord): string {
  return slug(record.lane, record.case, columnOf(record));
}

/**
 * A cell's button. A run has thousands: where its id and its spoken name follow from its row and column, the script
 * gives it both. `isVariant`: the row and column do not tell.
 */
function badge(record: CorruptionRecord, isVariant: boolean): Markup {
  const { verdict, surprise, unstable } = record;
  const tone = toneOf(record);
  const marks = `${surprise ? '!' : ''}${unstable ? '?' : ''}`;
  const sign = verdict === 'damaged' && outcomeText(record) !== verdict ? '*' : '';
  const spoken =
    verdictText(record) === verdict
      ? null
      : `${columnOf(record)}: ${verdictText(record)}${surprise ? ', not expected' : ''}`;
  return html`<button
    class="badge ${tone}${surprise && ' surprise'}"
    ${isVariant && html` data-cell="${cellId(record)}"`}${spoken !== null && html` aria-label="${spoken}"`}
  >
    <i>${TONE_SIGNS[tone]}</i><b>${verdict}${sign}</b
    ><u>${VERDICT_LETTERS[verdict]}${sign}</u>${marks !== '' && html`<em>${marks}</em>`}
  </button>`;
}

function cellMarkup(cell: Cell, column: Column | undefined): Markup {
  if (cell.kind === 'verdict') return html`<td>${badge(cell.record, columnOf(cell.record) !== column?.title)}</td>`;
  const skipped = cell.kind === 'missing' ? cell.skipped : undefined;
  return html`<td>
    <span class="badge missing" title="${skipped?.reason ?? 'not in this run'}"
      >${skipped === undefined ? '–' : html`<b>skipped</b><u aria-hidden="true">–</u>`}</span
    >
  </td>`;
}

/** The case that a row is about: the first text of its first cell. */
function caseOf({ cells: [first] }: Row): string {
  const text = first === undefined ? '' : cellText(first);
  return plainText(((Array.isArray(text) ? text[0] : text) ?? '') as Text);
}

function groupMarkup(group: string, rows: readonly Row[], columns: readonly Column[]): Markup {
  return html`<tbody>
    <tr class="group">
      <th scope="rowgroup" colspan="${columns.length}">${group}</th>
    </tr>
    ${rows.map((row) => {
      const [first, ...cells] = row.cells;
      return html`<tr data-case="${slug(caseOf(row))}">
        <th scope="row" ${row.detail !== undefined && html` title="${row.detail}"`}>
          ${first === undefined ? '' : textMarkup(cellText(first))}
        </th>
        ${cells.map((cell, at) => cellMarkup(cell, columns[at + 1]))}
      </tr>`;
    })}
  </tbody>`;
}

/** One lane's matrix. */
export function matrixMarkup({ title, lane, columns, rows, notes }: Table, isOpen: boolean): Markup {
  const mechanisms = columns.slice(1);
  const groups = [...new Set(rows.map(({ group }) => group ?? ''))];
  return html`<details class="lane-block" ${isOpen && html` open`}>
    <summary>${title} <span class="lead">${notes.map((note) => textMarkup(note))}</span></summary>
    <table class="matrix" data-lane="${slug(lane ?? '')}" style="--columns:${mechanisms.length}">
      <caption class="lead">
        Verdicts by case and mechanism. Each opens its evidence; arrow keys move between cells.
      </caption>
      <colgroup>
        <col class="case" />
        ${mechanisms.map(() => html`<col class="m" />`)}
      </colgroup>
      <thead>
        <tr>
          <th scope="col">case</th>
          ${mechanisms.map(
            ({ title: name, mechanism }) =>
              html`<th
                scope="col"
                class="m m-${mechanism === undefined ? 'none' : LOOKS[mechanism].ink}"
                data-column="${slug(name)}"
              >
                <span>${name}</span>
              </th>`,
          )}
        </tr>
      </thead>
      ${groups.map((group) =>
        groupMarkup(
          group,
          rows.filter((row) => (row.group ?? '') === group),
          columns,
        ),
      )}
    </table>
  </details>`;
}

const TONES: Readonly<Partial<Record<Verdict, Tone>>> = {
  prevented: 'good',
  refused: 'good',
  trapped: 'good',
  harmless: 'good',
  crashed: 'neutral',
};

/** What verdicts and their marks mean, as far as the run has them. */
export function verdictKey(records: readonly CorruptionRecord[]): Markup {
  const seen = VERDICTS.filter((verdict) => records.some((record) => record.verdict === verdict));
  const entry = (verdict: Verdict): Markup => {
    const tone = TONES[verdict] ?? 'bad';
    const letter = html`<span class="badge ${tone}" aria-hidden="true">${VERDICT_LETTERS[verdict]}</span>`;
    return html`<li>${letter}<b>${verdict}</b> ${VERDICT_MEANINGS[verdict]}</li>`;
  };
  const unstable = records.some((record) => record.unstable) && html`<li><b>?</b> repetitions differed</li>`;
  const announced =
    records.some((record) => record.verdict === 'damaged' && record.announced === true) &&
    html`<li><b>*</b> damaged, but a fault was raised as well</li>`;
  return html`<ul class="key" aria-label="Verdicts">
    ${seen.map(entry)}
    <li><b>!</b> not expected</li>
    ${unstable}${announced}
  </ul>`;
}

function factMarkup({ name, texts }: EvidenceFact, sourceBase: string): Markup {
  const [first] = texts;
  return html`<dt>${name}</dt>
    <dd>
      ${
        texts.length === 1
          ? textMarkup(first ?? '', sourceBase)
          : html`<ul>
              ${texts.map((text) => html`<li>${textMarkup(text, sourceBase)}</li>`)}
            </ul>`
      }
    </dd>`;
}

function evidenceMarkup({ record, title, about, facts, stderr }: CellEvidence, sourceBase: string): Markup {
  const tone = toneOf(record);
  return html`<article id="${cellId(record)}">
    <h3>${title}</h3>
    <p class="lead">${about}</p>
    <p><span class="badge ${tone}">${TONE_SIGNS[tone]} ${verdictText(record)}</span></p>
    <dl>${facts.map((fact) => factMarkup(fact, sourceBase))}</dl>
    ${
      stderr !== '' &&
      html`<p class="lead">Last lines of standard error</p>
        <pre>${stderr}</pre>`
    }
  </article>`;
}

/** Text for a page: the evidence of a full run is large, and the same again and again. Base64 of gzip. */
export const packedText = (text: string): string => packed(text).toString('base64');

/** The dialog that shows a cell's evidence, and all evidence. */
export function evidenceDialog(evidence: readonly CellEvidence[], sourceBase: string): Markup {
  return html`<noscript
      ><p>
        The evidence behind the cells opens by a script; evidence.md has it as text, and the raw data in full.
      </p></noscript
    >
    <dialog id="evidence" class="evidence" aria-label="Evidence">
      <button type="button" class="plain-button close" autofocus>Close</button>
      <div></div>
    </dialog>
    <script type="application/octet-stream" id="evidence-data">
      ${packedText(evidence.map((cell) => evidenceMarkup(cell, sourceBase).text).join('\n'))}
    </script>`;
}
