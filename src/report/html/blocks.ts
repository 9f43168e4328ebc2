/** The blocks of a section as HTML. */
import { type Mechanism, MECHANISMS } from '../../record/words.js';
import type { Panel } from '../findings/charts.js';
import type { Findings } from '../findings/index.js';
import type { Surprise } from '../findings/outcomes.js';
import { corruptionOf } from '../findings/records.js';
import type { Block, Section } from '../findings/sections.js';
import { MECHANISM_MEANINGS } from '../findings/words.js';
import { lineChart, type Size } from './line-chart.js';
import { LOOKS, PART_INKS } from './looks.js';
import { html, type Markup } from './markup.js';
import { cellId, evidenceDialog, matrixMarkup, verdictKey } from './matrix.js';
import { barChart, dotChart } from './row-charts.js';
import type { Drawing } from './svg.js';
import { tableMarkup } from './table.js';
import { textMarkup } from './text.js';

/** The sizes of charts' planes, in px. */
const SIZES = {
  main: { width: 222, height: 230, narrow: 110 },
  usual: { width: 212, height: 205, narrow: 130 },
} as const;
const ROW_WIDTHS = { dots: 210, ratios: 250, bars: 250 } as const;

/** Draws a panel's chart. */
export function drawPanel({ chart, narrow }: Panel, place: keyof typeof SIZES = 'usual'): Promise<Drawing> {
  if (chart.kind === 'bars') return barChart(chart, ROW_WIDTHS.bars);
  if (chart.kind === 'dots')
    return dotChart(chart, chart.reference === undefined ? ROW_WIDTHS.dots : ROW_WIDTHS.ratios);
  const { width, height, narrow: small } = SIZES[place];
  const size: Size = { width: narrow === true ? small : width, height };
  return lineChart(chart, size);
}

async function panelMarkup(panel: Panel, place?: keyof typeof SIZES): Promise<Markup> {
  return html`<div class="panel${panel.lane === 'model' && ' model'}">
    <h4>${panel.title}</h4>
    <p class="lane">${textMarkup(panel.note)}</p>
    ${(await drawPanel(panel, place)).svg}
  </div>`;
}

/** Charts side by side. */
export async function panelsMarkup(panels: readonly Panel[], place?: keyof typeof SIZES): Promise<Markup> {
  const drawn = await Promise.all(panels.map((panel) => panelMarkup(panel, place)));
  const isMain = place === 'main' && html` main${panels.some(({ lane }) => lane === 'model') && ' with-model'}`;
  return html`<div class="panels${isMain}">${drawn}</div>`;
}

/** The mechanisms of charts, by colour, dash and shape. */
export function mechanismKey(mechanisms: readonly Mechanism[]): Markup {
  const entry = (mechanism: Mechanism): Markup =>
    html`<li class="m-${LOOKS[mechanism].ink}"><b>${mechanism}</b> ${MECHANISM_MEANINGS[mechanism]}</li>`;
  return html`<ul class="key" aria-label="Mechanisms">
    ${MECHANISMS.filter((mechanism) => mechanisms.includes(mechanism)).map(entry)}
  </ul>`;
}

function partsKey(names: readonly string[]): Markup {
  return html`<ul class="key" aria-label="Parts">
    ${names.map((name, at) => html`<li class="m-${PART_INKS[at] ?? PART_INKS[0]}"><b>■</b> ${name}</li>`)}
  </ul>`;
}

function surpriseMarkup({ record, title, lines }: Surprise): Markup {
  const name = html`<b>${title}</b>`;
  return html`<li>
    <p>${record.kind === 'corruption' ? html`<a href="#${cellId(record)}">${name}</a>` : name}</p>
    ${lines.map((line) => html`<p class="lead">${line}</p>`)}
  </li>`;
}

async function blockMarkup(block: Block, section: Section, found: Findings): Promise<Markup> {
  switch (block.kind) {
    case 'text':
      return html`<p ${block.quiet === true && html` class="lead"`}>${textMarkup(block.text)}</p>`;
    case 'heading':
      return html`<h3>${block.text}</h3>`;
    case 'list':
      return html`<ul class="notes">
        ${block.items.map((item) => html`<li>${textMarkup(item)}</li>`)}
      </ul>`;
    case 'charts':
      return panelsMarkup(block.panels);
    case 'parts':
      return partsKey(block.names);
    case 'mechanisms':
      return mechanismKey(block.mechanisms);
    case 'verdicts':
      return verdictKey(corruptionOf(found.run));
    case 'surprises':
      return html`<ul class="surprises">
        ${block.surprises.map(surpriseMarkup)}
      </ul>`;
    case 'table': {
      const { table } = block;
      const here = section.blocks.flatMap((each) => (each.kind === 'table' ? [each.table] : []));
      return table.layout === 'matrix'
        ? matrixMarkup(table, here[0] === table)
        : tableMarkup(table, { heading: here.length > 1 });
    }
  }
}

/** A section with its heading; the matrix's brings the evidence along. */
export async function sectionMarkup(section: Section, found: Findings, sourceBase: string): Promise<Markup> {
  const { id, title, blocks } = section;
  const hasMatrix = blocks.some((block) => block.kind === 'table' && block.table.layout === 'matrix');
  const drawn = await Promise.all(blocks.map((block) => blockMarkup(block, section, found)));
  return html`<section id="${id}" aria-labelledby="${id}-head">
    <h2 id="${id}-head">${title}</h2>
    ${drawn} ${hasMatrix && evidenceDialog(found.evidence, sourceBase)}
  </section>`;
}
