/** report.html of a campaign: one file, drawn by hand in SVG, in the style of a run's report. */
import { createHash } from 'node:crypto';

import type { GuardMechanism } from '../../record/words.js';
import { LOOKS } from '../../report/html/looks.js';
import { html, type Markup, trusted } from '../../report/html/markup.js';
import { SCRIPT } from '../../report/html/script.js';
import { STYLE } from '../../report/html/style.js';
import { stratumOf, subjectOf } from '../subjects.js';
import { type CampaignFigures, rateText, replayText, type WaterfallStep, wordsOf } from './figures.js';
import { deathBin } from './markdown.js';
import type { Campaign } from './outcomes.js';

const OWN_STYLE = `.c text{font-size:12px;fill:var(--ink)}.c .muted{fill:var(--muted)}.c .frame{stroke:var(--axis)}
.c .bar{fill:var(--m)}.c .line{stroke:var(--m);stroke-width:2}.wide-chart{overflow-x:auto}
.wide-chart svg{min-width:620px}table td code{white-space:nowrap}
a.mark{cursor:pointer}.replays{columns:2 30rem;padding-left:1.2em;font-size:.85em}.replays code{overflow-wrap:anywhere}
.replays li:target{outline:2px solid var(--focus)}.wide-chart svg,figure{break-inside:avoid}
@media print{.replays{display:none}.wide-chart{overflow:visible}.wide-chart svg{min-width:0}}`;

const ink = (mechanism: GuardMechanism): string => `m-${LOOKS[mechanism].ink}`;

/** The faults that marks lead to, each with the command that makes it again. */
class Replays {
  readonly #seen = new Map<string, readonly [number, GuardMechanism]>();

  link(index: number, mechanism: GuardMechanism): string {
    const name = `replay-${mechanism}-${index}`;
    this.#seen.set(name, [index, mechanism]);
    return name;
  }

  list({ campaign }: CampaignFigures): Markup {
    const rows = [...this.#seen].sort(([, [a]], [, [b]]) => a - b);
    return html`<ul class="replays">
      ${rows.map(
        ([name, [index, mechanism]]) =>
          html`<li id="${name}"><code>${replayText(campaign, index, mechanism)}</code></li>`,
      )}
    </ul>`;
  }
}

/** A chart is one stop of the keyboard; arrow keys walk through its marks (script.ts), and Enter goes to the fault. */
class Marks {
  #count = 0;
  readonly #replays: Replays;

  constructor(replays: Replays) {
    this.#replays = replays;
  }

  /** A shape with its text; a link where there is a fault to make again. */
  mark(shape: Markup, title: string, index: number, mechanism: GuardMechanism): Markup {
    const stop = trusted(`class="mark" tabindex="${this.#count++ === 0 ? 0 : -1}"`);
    if (index < 0)
      return html`<g ${stop} role="img">
        ${shape}
        <title>${title}</title>
      </g>`;
    return html`<a ${stop} href="#${this.#replays.link(index, mechanism)}">
      ${shape}
      <title>${title}</title>
    </a>`;
  }
}

/** The first fault of a stratum. */
function firstOf({ plan }: Campaign, stratum: number): number {
  const subject = subjectOf(plan);
  for (let index = 0; index < plan.count; index++) if (stratumOf(subject, index) === stratum) return index;
  return -1;
}

function chart(name: string, width: number, height: number, content: unknown): Markup {
  return html`<div class="wide-chart">
    <svg class="chart c" viewBox="0 0 ${width} ${height}" role="group" aria-label="${name}">${content as Markup}</svg>
  </div>`;
}

/** Harm by stratum and mechanism, with whiskers. */
function strataChart({ campaign, mechanisms }: CampaignFigures, replays: Replays): Markup {
  const marks = new Marks(replays);
  const [left, width, row] = [130, 760, 12 * mechanisms.length + 10];
  const x = (value: number): number => left + value * (width - left - 20);
  const rows = campaign.plan.strata.map(({ name }, at) => {
    const dots = mechanisms.map((each, line) => {
      const harm = each.strata[at]?.harm;
      if (harm === undefined || harm.of === 0) return false;
      const y = 24 + at * row + 8 + line * 12;
      const title = `${name}, ${wordsOf(each.mechanism)}: ${rateText(harm)}, ${harm.count} of ${harm.of}.`;
      const circle = html`<circle fill="var(--m)" cx="${x(harm.estimate).toFixed(1)}" cy="${y}" r="4" />`;
      return html`<g class="${ink(each.mechanism)}">
        <line class="line" x1="${x(harm.low).toFixed(1)}" x2="${x(harm.high).toFixed(1)}" y1="${y}" y2="${y}" />
        ${marks.mark(circle, title, firstOf(campaign, at), each.mechanism)}
      </g>`;
    });
    return html`<g> <text x="${left - 8}" y="${24 + at * row + row / 2}" text-anchor="end">${name}</text>${dots} </g>`;
  });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (value) =>
      html`<g>
        <line class="frame" x1="${x(value)}" x2="${x(value)}" y1="18" y2="${24 + rows.length * row}" opacity=".4" />
        <text class="muted" x="${x(value)}" y="12" text-anchor="middle">${value * 100} %</text>
      </g>`,
  );
  return chart('Harm by stratum and mechanism', width, 30 + rows.length * row, [ticks, rows]);
}

/** All faults, less what each layer catches. */
function waterfallChart({ waterfalls }: CampaignFigures, replays: Replays): readonly Markup[] {
  return waterfalls.map(({ population, faults, steps }) => {
    const marks = new Marks(replays);
    const [left, width] = [290, 820];
    const wide = (count: number): number => (count / Math.max(1, faults)) * (width - left - 70);
    const all: WaterfallStep = { text: `all ${population}`, faults, left: 0, mechanism: 'none', example: -1 };
    const bars = [all, ...steps].map((step, at) => {
      const share = ((step.faults / Math.max(1, faults)) * 100).toFixed(1);
      const y = 8 + at * 30;
      const bar = html`<rect
        fill="${at === steps.length ? 'var(--bad-ink)' : 'var(--m)'}"
        x="${(left + wide(step.left)).toFixed(1)}"
        y="${y}"
        width="${Math.max(1, wide(step.faults)).toFixed(1)}"
        height="20"
      />`;
      const title = `${step.faults} of ${faults} ${population} ${step.text}`;
      return html`<g class="${ink(step.mechanism)}">
        <text x="${left - 8}" y="${y + 15}" text-anchor="end">${step.text}</text>
        ${marks.mark(bar, title, step.example, step.mechanism)}
        <text x="${(left + wide(step.left + step.faults) + 6).toFixed(1)}" y="${y + 15}">${share} %</text>
      </g>`;
    });
    return chart(`What each layer catches: ${population}`, width, 16 + bars.length * 30, bars);
  });
}

/** Outcome by address: each stratum's bytes in 24 cells, darker for more harm. */
function stripChart({ campaign, mechanisms, strip }: CampaignFigures, replays: Replays): readonly Markup[] {
  return mechanisms.map(({ mechanism }, at) => {
    const marks = new Marks(replays);
    const rows = (strip[at] ?? []).map(({ name, cells }, row) => {
      const boxes = cells.map(({ faults, harm, example }, cell) => {
        const share = faults === 0 ? 0 : harm / faults;
        const box = html`<rect
          x="${130 + cell * 25}"
          y="${4 + row * 16}"
          width="24"
          height="13"
          fill="color-mix(in srgb, var(--bad-ink) ${Math.round(share * 100)}%, var(--grid))"
        />`;
        return marks.mark(
          box,
          `${name}, ${subjectOf(campaign.plan).texts[name] ?? ''}, part ${cell + 1} of 24: ` +
            `harm by ${harm} of ${faults} faults.`,
          example,
          mechanism,
        );
      });
      return html`<g> <text x="122" y="${15 + row * 16}" text-anchor="end">${name}</text>${boxes} </g>`;
    });
    return html`<figure>
      <figcaption><b class="${ink(mechanism)}" style="color:var(--m)">${mechanism}</b></figcaption>
      ${chart(`Harm by address, ${wordsOf(mechanism)}`, 760, 10 + rows.length * 16, rows)}
    </figure>`;
  });
}

function deathTable({ campaign, mechanisms }: CampaignFigures): Markup {
  const times = (campaign.deaths[0] ?? []).map((_, bin, all) => ({
    text: `${deathBin(bin, all.length)} after the fault`,
    counts: campaign.deaths.map((counts) => counts[bin] ?? 0),
  }));
  const units = subjectOf(campaign.plan).units.map((text, unit) => ({
    text,
    counts: campaign.units.map((counts) => counts[unit] ?? 0),
  }));
  const rows = [...units, ...(campaign.plan.lane === 'native' ? times : [])];
  const most = Math.max(1, ...rows.flatMap(({ counts }) => counts));
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Deaths by time">
    <table>
      <thead>
        <tr>
          <th scope="col">death or hang</th>
          ${mechanisms.map(({ mechanism }) => html`<th scope="col" class="${ink(mechanism)}">${mechanism}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ text, counts }) =>
            html`<tr>
              <th scope="row">${text}</th>
              ${counts.map(
                (count, at) =>
                  html`<td class="${ink(mechanisms[at]?.mechanism ?? 'none')}">
                    <svg width="100" height="12" aria-hidden="true">
                      <rect width="${((count / most) * 100).toFixed(1)}" height="12" fill="var(--m)" />
                    </svg>
                    ${count}
                  </td>`,
              )}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

export function renderCampaignHtml(figures: CampaignFigures): string {
  const { campaign, mechanisms } = figures;
  const { plan } = campaign;
  const replays = new Replays();
  const { imageWords, programWords } = subjectOf(plan);
  const hash = createHash('sha256').update(SCRIPT).digest('base64');
  const policy =
    `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; ` + `img-src data:; base-uri 'none'`;
  const themes = ['auto', 'light', 'dark'].map((theme) => {
    const checked = theme === 'auto' && html` checked`;
    return html`<label><input type="radio" name="theme" value="${theme}" ${checked} /><span>${theme}</span></label>`;
  });
  const answers = mechanisms.map(
    (each) =>
      html`<li>
        <span class="tag">${each.mechanism}</span>Of random stray stores into ${imageWords},
        <b>${rateText(each.image)}</b> did harm ${wordsOf(each.mechanism)}: <b>${rateText(each.damaged)}</b> changed it,
        and after <b>${rateText(each.felt)}</b> the program went wrong. Of those into ${programWords},
        <b>${rateText(each.program)}</b> did harm.
      </li>`,
  );
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>Turnkey: a campaign of random faults</title>
        <link rel="icon" href="data:," />
        <style>
          ${trusted(STYLE)}${trusted(OWN_STYLE)}
        </style>
      </head>
      <body>
        <a class="skip" href="#main">Skip to the report</a>
        <div class="page">
          <header class="top">
            <span
              ><b>Turnkey</b> campaign, seed ${plan.seed}, lane ${plan.lane}, Linux ${plan.kernel}, ${plan.cpu}</span
            >
            <fieldset class="theme" hidden>
              <legend>Colours</legend>
              ${themes}
            </fieldset>
          </header>
          <main id="main">
            <section class="first" aria-labelledby="title">
              <h1 id="title">How many stray stores get through?</h1>
              <ul class="answer">
                ${answers}
              </ul>
              <p class="lead">
                Harm: the program crashed, hung, answered wrongly with no error told, or ${imageWords} was changed.
                Intervals are at 95 %.
              </p>
            </section>
            <section>
              <h2>What each layer catches</h2>
              ${waterfallChart(figures, replays)}
            </section>
            <section>
              <h2>Harm by stratum</h2>
              ${strataChart(figures, replays)}
            </section>
            <section>
              <h2>Harm by address</h2>
              <p>Each stratum's bytes in 24 parts, low addresses first; the darker, the more faults there did harm.</p>
              ${stripChart(figures, replays)}
            </section>
            <section>
              <h2>When the program died</h2>
              ${deathTable(figures)}
            </section>
            <section>
              <h2>One fault again</h2>
              <p>Marks above lead to a fault of theirs; these commands make it again, with all evidence.</p>
              ${replays.list(figures)}
            </section>
          </main>
          <footer>Made by <code>turnkey campaign report</code> from the campaign's records alone.</footer>
        </div>
        ${trusted(`<script>${SCRIPT}</script>`)}
      </body>
    </html> `.text;
}
