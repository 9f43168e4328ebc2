/** The main picture: a figure of the page, and a file of its own. */
import type { Panel } from '../findings/charts.js';
import type { Picture } from '../findings/picture.js';
import { drawPanel, mechanismKey, panelsMarkup } from './blocks.js';
import { html, type Markup } from './markup.js';
import { paletteCss } from './style.js';
import type { Drawing } from './svg.js';
import { tableMarkup } from './table.js';

/** The picture with its key and its numbers. */
export async function pictureFigure(picture: Picture): Promise<Markup> {
  return html`<figure id="picture">
    <figcaption>
      <b>${picture.title}.</b>
      <span class="lead"
        >Both axes are logarithmic; one operation is ${picture.what}. Times and instructions are different things and
        share no axis.</span
      >
    </figcaption>
    ${await panelsMarkup(picture.panels, 'main')} ${mechanismKey(picture.mechanisms)}
    ${picture.tables.map((table) => tableMarkup(table, { heading: false }))}
  </figure>`;
}

const LANE_NOTES = {
  native: 'native: measured on this CPU',
  emulated: 'emulated: counted, not time',
  model: 'not measured: published latencies',
} as const;

const MARGIN = 20;
const GAP = 34;
const TOP = 76;
const CHART_TOP = TOP + 26;

interface Placed {
  readonly panel: Panel;
  readonly drawing: Drawing;
  readonly x: number;
}

function groupMarkup({ panel, drawing, x }: Placed): Markup {
  const note = panel.lane in LANE_NOTES ? LANE_NOTES[panel.lane as keyof typeof LANE_NOTES] : '';
  return html`<text x="${x}" y="${TOP}" class="panel">${panel.title}</text
    ><text x="${x}" y="${TOP + 17}" class="note">${note}</text
    ><g transform="translate(${x},${CHART_TOP})">${drawing.svg}</g> `;
}

/**
 * The picture as a file of its own, for a README: the panels side by side, colours by the reader's scheme. Null where
 * the run has no costs by size.
 */
export async function renderPicture(picture: Picture): Promise<string | null> {
  if (picture.panels.length === 0) return null;
  let x = MARGIN;
  let bottom = 0;
  const placed: Placed[] = [];
  for (const panel of picture.panels) {
    const drawing = await drawPanel(panel, 'main');
    placed.push({ panel, drawing, x });
    x += drawing.width + GAP;
    bottom = Math.max(bottom, CHART_TOP + drawing.height);
  }
  const width = Math.ceil(x - GAP + MARGIN);
  const height = Math.ceil(bottom + 16);
  const attributes = [
    'xmlns="http://www.w3.org/2000/svg"',
    `viewBox="0 0 ${width} ${height}"`,
    `width="${width}"`,
    `height="${height}"`,
    `font-family="system-ui, 'Segoe UI', 'Liberation Sans', sans-serif"`,
    'role="img"',
    `aria-label="${picture.title}"`,
  ];
  return [
    `<svg ${attributes.join(' ')}>`,
    `<style>${paletteCss(':root')}`,
    'svg{background:var(--bg)} .head{font-size:19px;font-weight:650;fill:var(--ink)}',
    '.panel{font-size:14px;font-weight:650;fill:var(--ink)} .note{font-size:12px;fill:var(--muted)}</style>',
    '<rect width="100%" height="100%" fill="var(--bg)"/>',
    html`<text x="20" y="34" class="head">${picture.title}</text>`.text,
    ...placed.map((each) => groupMarkup(each).text),
    '</svg>',
    '',
  ].join('\n');
}
