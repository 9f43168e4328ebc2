/**
 * report.html: one file that holds everything, opens from disk and asks the network for nothing; its content security
 * policy says so. A pure function of a run's findings.
 */
import { createHash } from 'node:crypto';

import type { Run } from '../../record/records.js';
import { SAVED_FILE } from '../../record/store.js';
import { formatBytes, formatCount } from '../findings/format.js';
import type { Findings } from '../findings/index.js';
import { sectionMarkup } from './blocks.js';
import { html, type Markup, trusted } from './markup.js';
import { packedText } from './matrix.js';
import { pictureFigure } from './picture.js';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';
import { textMarkup } from './text.js';

export interface HtmlOptions {
  /**
   * Where the project's files are, seen from the report; with a slash at its end. Links to cases' sources start with
   * it.
   */
  readonly sourceBase?: string;
}

function dataSection(run: Run): Markup {
  const json = `${JSON.stringify(run)}\n`;
  const data = packedText(json);
  return html`<section id="data" aria-labelledby="data-head">
    <h2 id="data-head">Raw data</h2>
    <p>
      Every number above comes from this run's ${formatCount(run.records.length)} records, which this page carries: all
      samples, all evidence, the environment.
    </p>
    <p class="no-print">
      <a class="button" download="${SAVED_FILE}" href="data:application/gzip;base64,${data}">Save run.json.gz</a>
      <span class="lead"
        >${formatBytes(Math.ceil((data.length * 3) / 4))}, unpacks to ${formatBytes(Buffer.byteLength(json))}</span
      >
    </p>
    <p class="lead">
      Unpacked beside a checkout of the project, <code>turnkey report DIR</code> makes this page again,
      <code>turnkey compare A B</code> sets two runs side by side, and <code>turnkey export --csv DIR</code> writes
      tables.
    </p>
  </section>`;
}

/** The page of a run's findings. */
export async function renderHtml(found: Findings, options: HtmlOptions = {}): Promise<string> {
  const { context } = found.run;
  const { picture } = found;
  const sections = await Promise.all(
    found.sections.map((section) => sectionMarkup(section, found, options.sourceBase ?? '../../')),
  );
  const contents = [...found.sections, { id: 'data', title: 'Raw data' }];
  const figure = picture.panels.length > 0 && (await pictureFigure(picture));
  const policy =
    `default-src 'none'; style-src 'unsafe-inline'; script-src ` +
    `'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'; img-src data:; base-uri 'none'; ` +
    `form-action 'none'`;
  const commit = context.commit !== null && html`, commit <code>${context.commit}</code>`;
  const quick = context.quick && html`, <b>quick run</b>`;
  const themes = ['auto', 'light', 'dark'].map((theme) => {
    const checked = theme === 'auto' && html` checked`;
    return html`<label><input type="radio" name="theme" value="${theme}" ${checked} /><span>${theme}</span></label>`;
  });
  const answer = found.answer.map(
    ({ about, text }) => html`<li><span class="tag">${about}</span>${textMarkup(text)}</li>`,
  );
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
              ${context.host.kernel}${commit}${quick}</span
            >
            <fieldset class="theme" hidden>
              <legend>Colours</legend>
              ${themes}
            </fieldset>
          </header>
          <nav class="toc" aria-label="Contents">
            <ol>
              ${contents.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}
            </ol>
          </nav>
          <main id="main">
            <section class="first" aria-labelledby="title">
              <h1 id="title">${found.title}</h1>
              <ul class="answer">
                ${answer}
              </ul>
              ${figure}
            </section>
            ${sections} ${dataSection(found.run)}
          </main>
          <footer>Made by <code>turnkey report</code> from run.json alone. No figure here is typed by hand.</footer>
        </div>
        ${trusted(`<script>${SCRIPT}</script>`)}
      </body>
    </html> `;
  return page.text;
}
