/**
 * What all charts share: the look of axes, ticks in words. Colours are variables of the style sheet, so that one
 * drawing serves both themes. https://vega.github.io/vega-lite/docs/
 */
import type { Axis } from '../findings/charts.js';
import { formatTick } from '../findings/format.js';
import type { Look } from './looks.js';

export const FONT_SIZE = 11.5;
/** A look's colour in the reader's theme. */
export const colour = (look: Look): string => `var(--m-${look.ink})`;

const CONFIG = {
  background: 'transparent',
  font: 'inherit',
  view: { stroke: null },
  axis: {
    labelColor: 'var(--muted)',
    titleColor: 'var(--muted)',
    domainColor: 'var(--axis)',
    tickColor: 'var(--axis)',
    gridColor: 'var(--grid)',
    labelFontSize: FONT_SIZE,
    titleFontSize: FONT_SIZE,
    titleFontWeight: 'normal',
    titlePadding: 9,
    labelPadding: 5,
    tickSize: 4,
    labelLimit: 320,
    labelOverlap: false,
    labelFlush: false,
  },
};

/** Ticks are written by us, each in its unit. */
function labels(axis: Axis): string {
  const written = Object.fromEntries(axis.ticks.map((tick) => [String(tick), formatTick(tick, axis.unit)]));
  return `${JSON.stringify(written)}[datum.value] || ''`;
}

/** An axis of a chart as Vega-Lite wants it. */
export function vegaAxis(axis: Axis, options: object = {}): object {
  return { title: axis.title, values: [...axis.ticks], labelExpr: labels(axis), ...options };
}

/** A whole specification around marks. */
export function specification(more: object): object {
  return { $schema: 'https://vega.github.io/schema/vega-lite/v6.json', config: CONFIG, padding: 2, ...more };
}

/** A logarithmic scale over an axis. */
export const logScale = ({ domain }: Axis): object => ({ type: 'log', base: 10, domain: [...domain], nice: false });
