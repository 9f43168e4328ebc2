/**
 * report.html: one file that holds everything, opens from disk and asks the network for nothing; its content security
 * policy says so.
 * A pure function of a run.
 */
import { createHash } from 'node:crypto';

import type { Run } from '../../record/records.js';
import { type Mechanism, MECHANISMS } from '../../record/words.js';
import { formatBytes, formatCount } from '../format.js';
import { methodFacts } from '../method.js';
import { columnOf, corruptionOf, environment, honestTable, skippedTable, surprises } from '../model.js';
import { warningsOf } from '../warnings.js';
import { answer } from './answer.js';
import { breakEvenSection, experimentSections, ladderSection, mechanismKey, type Section } from './costs.js';
import { type Cost, describeCost, sizeOf, valueOf } from './figures.js';
import { type Content, html, type Markup, trusted } from './markup.js';
import { cellId, matrixSection, packed, spacesSection } from './matrix.js';
import { mainPicture, type Picture } from './picture.js';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';
import { plainTable } from './table.js';

export interface HtmlOptions {
  /**
   * Where the project's files are, seen from the report; with a slash at its end. Links to cases' sources start with
   * it.
   */
  readonly sourceBase?: string;
}

/** The numbers of the main picture. */
function pictureTable(picture: Picture): Markup {
  const lanes = picture.panels.filter(({ cells }) => cells.length > 0);
  return html`<details>
    <summary>The picture as a table</summary>
    ${lanes.map(({ lane, cells, note }) => {
      const sizes = [...new Set(cells.map((cost) => sizeOf(cost) ?? 0))].sort((a, b) => a - b);
      const mechanisms = MECHANISMS.filter((mechanism) => cells.some((cost) => cost.mechanism === mechanism));
      const at = (mechanism: Mechanism, size: number): Cost | undefined =>
        cells.find((cost) => cost.mechanism === mechanism && sizeOf(cost) === size);
      return html`<div class="scroll" tabindex="0" role="region" aria-label="Cost by image size, ${lane} lane">
        <table>
          <caption>
            ${note}
          </caption>
          <thead>
            <tr>
              <th scope="col">mechanism</th>
              ${sizes.map((size) => html`<th scope="col" class="n">${formatBytes(size)}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${mechanisms.map(
              (mechanism) =>
                html`<tr>
                  <th scope="row">${mechanism}</th>
                  ${sizes.map((size) => {
                    const cost = at(mechanism, size);
                    return cost === undefined
                      ? html`<td class="n missing">–</td>`
                      : html`<td class="n" title="${describeCost(cost)}">${valueOf(cost, cost.value)}</td>`;
                  })}
                </tr>`,
            )}
          </tbody>
        </table>
      </div>`;
    })}
  </details>`;
}

function pictureFigure(picture: Picture): Markup {
  const mechanisms = [
    ...new Set<Mechanism>([
      ...picture.panels.flatMap(({ cells }) => cells.map((cost) => cost.mechanism)),
      ...(picture.panels.some(({ lane }) => lane === 'model') ? ['pkeys-model' as const] : []),
    ]),
  ];
  return html`<figure id="picture">
    <figcaption>
      <b>${picture.title}.</b>
      <span class="lead"
        >Both axes are logarithmic; one operation is ${picture.what}. Times and instructions are different things and
        share no axis.</span
      >
    </figcaption>
    <div class="panels main${picture.panels.some(({ lane }) => lane === 'model') && ' with-model'}">
      ${picture.panels.map(
        (panel) =>
          html`<div class="panel${panel.lane === 'model' && ' model'}">
            <h4>${panel.title}</h4>
            <p class="lane">${panel.note}</p>
            ${panel.svg}
          </div>`,
      )}
    </div>
    ${mechanismKey(mechanisms.filter((mechanism) => mechanism !== 'pkeys-model'))} ${pictureTable(picture)}
  </figure>`;
}

function surprisesSection(run: Run): Section {
  const found = surprises(run);
  const ids = new Map(
    corruptionOf(run).map((record) => [`${record.case}, ${columnOf(record)}, ${record.lane}:`, cellId(record)]),
  );
  const link = (title: string): Content => {
    const id = [...ids].find(([start]) => title.startsWith(start))?.[1];
    return id === undefined ? html`<b>${title}</b>` : html`<a href="#${id}"><b>${title}</b></a>`;
  };
  return {
    id: 'surprises',
    title: found.length === 0 ? 'No surprises' : `Surprises (${found.length})`,
    body:
      found.length === 0
        ? html`<p>
            Every verdict was an expected one, honest work gave the same bytes, and nothing broke that should have
            worked.
          </p>`
        : html`<p>What was not as expected comes first.</p>
            <ul class="surprises">
              ${found.map(
                ({ title, lines }) =>
                  html`<li>
                    <p>${link(title)}</p>
                    ${lines.map((line) => html`<p class="lead">${line}</p>`)}
                  </li>`,
              )}
            </ul>`,
  };
}

function honestSection(run: Run): Section | null {
  const table = honestTable(run);
  if (table.rows.length === 0) return null;
  return {
    id: 'honest',
    title: 'Honest work',
    body: html`<p>
        Correct libraries, doing real work: the bytes must not depend on the mechanism, and the image must come back
        equal.
      </p>
      ${plainTable(table, 'Honest work')}`,
  };
}

function warningsSection(run: Run): Section | null {
  const found = warningsOf(run);
  if (found.length === 0) return null;
  return {
    id: 'warnings',
    title: 'Warnings',
    body: html`<p>What makes a figure less than it could be, and what to do about it.</p>
      <ul class="notes">
        ${found.map(({ text, remedy, rows, of }) => html`<li>${text}${remedy !== '' && html`: <b>${remedy}</b>`} <span class="lead">(${rows === 0 ? of.join('; ') : `${formatCount(rows)} ${rows === 1 ? 'row' : 'rows'}: ` + `${of.slice(0, 6).join('; ')}${of.length > 6 ? '; …' : ''}`})</span></li>`)}
      </ul>`,
  };
}

function skippedSection(run: Run): Section | null {
  const table = skippedTable(run);
  return table.rows.length === 0
    ? null
    : {
        id: 'skipped',
        title: 'Skipped',
        body: html`<p>What could not be tried, and why.</p>
          ${plainTable(table, 'Skipped rows')}`,
      };
}

function methodSection(run: Run): Section {
  return {
    id: 'method',
    title: 'Method',
    body: html`<dl class="facts">
      ${methodFacts(run).map(
        ({ name, text }) =>
          html`<dt>${name}</dt>
            <dd>${text}</dd>`,
      )}
    </dl>`,
  };
}

function environmentSection(run: Run): Section {
  return {
    id: 'environment',
    title: 'Environment',
    body: html`<dl class="facts">
      ${environment(run).rows.map(
        ([name, value]) =>
          html`<dt>${name?.text}</dt>
            <dd>${value?.text}</dd>`,
      )}
    </dl>`,
  };
}

function dataSection(run: Run): Section {
  const json = `${JSON.stringify(run)}\n`;
  const data = packed(json);
  return {
    id: 'data',
    title: 'Raw data',
    body: html`<p>
        Every number above comes from this run's ${formatCount(run.records.length)} records, which this page carries:
        all samples, all evidence, the environment.
      </p>
      <p class="no-print">
        <a class="button" download="run.json.gz" href="data:application/gzip;base64,${data}">Save run.json.gz</a>
        <span class="lead"
          >${formatBytes(Math.ceil((data.length * 3) / 4))}, unpacks to ${formatBytes(Buffer.byteLength(json))}</span
        >
      </p>
      <p class="lead">
        Unpacked beside a checkout of the project, <code>turnkey report DIR</code> makes this page again,
        <code>turnkey compare A B</code> sets two runs side by side, and <code>turnkey export --csv DIR</code> writes
        tables.
      </p>`,
  };
}

/** Rendered once a section, in order. */
function sectionMarkup({ id, title, body }: Section): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-head">
    <h2 id="${id}-head">${title}</h2>
    ${body}
  </section>`;
}

/** The page. */
export async function renderHtml(run: Run, options: HtmlOptions = {}): Promise<string> {
  const sourceBase = options.sourceBase ?? '../../';
  const { context } = run;
  const [picture, ladder, experiments, breakEven] = await Promise.all([
    mainPicture(run),
    ladderSection(run),
    experimentSections(run),
    breakEvenSection(run),
  ]);
  const matrix = matrixSection(run, sourceBase);
  const spaces = spacesSection(run);
  const sections = [
    surprisesSection(run),
    matrix === null ? null : { id: 'matrix', title: 'Which corruptions are stopped', body: matrix },
    honestSection(run),
    ladder,
    breakEven,
    ...experiments,
    spaces === null ? null : { id: 'spaces', title: 'The image and its keys', body: spaces },
    environmentSection(run),
    methodSection(run),
    warningsSection(run),
    skippedSection(run),
    dataSection(run),
  ].filter((section) => section !== null);
  const title = 'What do protection keys prevent around foreign calls, and what do they cost?';
  const policy =
    `default-src 'none'; style-src 'unsafe-inline'; script-src ` +
    `'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'; img-src data:; base-uri 'none'; ` +
    `form-action 'none'`;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="generator" content="Turnkey ${context.versions['turnkey'] ?? ''}" />
        <title>Turnkey: what protection keys prevent, and what they cost</title>
        <link rel="icon" href="data:," />
        <style>
          ${trusted(STYLE)}
        </style>
      </head>
      <body>
        <a class="skip" href="#main">Skip to the report</a>
        <div class="page">
          <header class="top">
            <span
              ><b>Turnkey</b> ${context.started.slice(0, 10)}, ${context.host.cpu}, Linux
              ${context.host.kernel}${context.commit !== null && html`, commit <code>${context.commit}</code>`}${context.quick && html`, <b>quick run</b>`}</span
            >
            <fieldset class="theme" hidden>
              <legend>Colours</legend>
              ${['auto', 'light', 'dark'].map((theme) => html`<label><input type="radio" name="theme" value="${theme}" ${theme === 'auto' && html` checked`} /><span>${theme}</span></label>`)}
            </fieldset>
          </header>
          <nav class="toc" aria-label="Contents">
            <ol>
              ${sections.map((section) => html`<li><a href="#${section.id}">${section.title}</a></li>`)}
            </ol>
          </nav>
          <main id="main">
            <section class="first" aria-labelledby="title">
              <h1 id="title">${title}</h1>
              <ul class="answer">
                ${answer(run).map(({ about, text }) => html`<li><span class="tag">${about}</span>${text}</li>`)}
              </ul>
              ${picture.panels.length > 0 && pictureFigure(picture)}
            </section>
            ${sections.map(sectionMarkup)}
          </main>
          <footer>Made by <code>turnkey report</code> from run.json alone. No figure here is typed by hand.</footer>
        </div>
        <script>
          ${trusted(SCRIPT)};
        </script>
      </body>
    </html> `;
  return page.text;
}
