/**
 * Charts as SVG text, by Vega-Lite, without a browser. Colours are variables of the style sheet, so that one drawing
 * serves both themes; every mark carries its numbers as its title, and so its accessible name, which hover and focus
 * show. https://vega.github.io/vega-lite/docs/
 */
import { createHash } from 'node:crypto';

import type { TopLevelSpec } from 'vega-lite';

import { escape, type Markup,trusted } from './markup.js';
import { CHARTS_NEED, drawing } from './vega.js';

/** A line's or mark's look. */
export interface Look {
  readonly ink: string;
  readonly dash: readonly number[];
  readonly shape: string;
}

export interface Series {
  readonly name: string;
  /** Written beside the line's end. */
  readonly label: string;
  readonly look: Look;
  readonly points: readonly Point[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
  /** The mark's accessible name. */
  readonly text: string;
}

/** A band between two constants or lines: a model. */
export interface Band {
  readonly label: string;
  readonly look: Look;
  readonly points: readonly { readonly x: number; readonly low: number; readonly high: number }[];
  readonly text: string;
}

export interface Axis {
  readonly title: string;
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
  readonly format: (value: number) => string;
}

export interface LineChart {
  /** The chart's accessible name. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  readonly bands?: readonly Band[];
  /** Horizontal reference lines. */
  readonly rules?: readonly { readonly y: number; readonly label: string }[];
}

export interface DotChart {
  readonly name: string;
  readonly width: number;
  readonly rows: readonly { readonly label: string; readonly dots: readonly Dot[] }[];
  readonly x: Axis;
  /** A vertical reference line. */
  readonly reference?: number;
}

export interface Dot {
  readonly look: Look;
  readonly x: number;
  readonly low?: number;
  readonly high?: number;
  readonly text: string;
}

const FONT_SIZE = 11.5;
const colour = (look: Look): string => `var(--m-${look.ink})`;

const CONFIG: TopLevelSpec['config'] = {
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

function labels(axis: Axis): string {
  return `${JSON.stringify(Object.fromEntries(axis.ticks.map((tick) => [String(tick), axis.format(tick)])))}[datum.value] || ''`;
}

function vegaAxis(axis: Axis, options: object = {}): object {
  return { title: axis.title, values: [...axis.ticks], labelExpr: labels(axis), ...options };
}

/**
 * Positions of labels so that none covers another: pushed apart, kept inside, order kept. `wanted` in px from the top.
 */
export function dodge(wanted: readonly number[], gap: number, most: number): readonly number[] {
  const order = wanted.map((_, at) => at).sort((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0));
  const placed = [...wanted];
  let last = Number.NEGATIVE_INFINITY;
  for (const at of order) {
    placed[at] = Math.max(wanted[at] ?? 0, last + gap);
    last = placed[at] ?? 0;
  }
  let limit = most;
  for (const at of [...order].reverse()) {
    placed[at] = Math.min(placed[at] ?? 0, limit);
    limit = (placed[at] ?? 0) - gap;
  }
  return placed;
}

/** Powers of ten that hold all values, with a step that leaves at most about seven ticks. */
export function logAxis(values: readonly number[], title: string, format: (value: number) => string): Axis {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  const low = Math.floor(Math.log10(Math.min(...positive, 1e12)) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive, 1e-12)) - 1e-9));
  const step = Math.ceil((high - low + 1) / 8);
  const ticks: number[] = [];
  for (let power = low; power <= high; power += step) ticks.push(10 ** power);
  return { title, domain: [10 ** low, 10 ** high], ticks, format };
}

/** What stands where a chart would be. */
const notDrawn = (name: string): Markup =>
  trusted(
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 420 40" width="420" height="40" role="img" aria-label="${escape(name)}">` +
      `<text x="0" y="24" fill="currentColor" font-size="12">Not drawn: vega and vega-lite are not installed (${CHARTS_NEED}).</text></svg>`,
  );

async function draw(spec: TopLevelSpec, name: string): Promise<Markup> {
  const packages = await drawing();
  if (packages === undefined) return notDrawn(name);
  const { vega, compile } = packages;
  const view = new vega.View(vega.parse(compile(spec, { logger: vega.logger(vega.Error) }).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  let first = true;
  // Vega numbers clips through the whole process; a page must not depend on what was drawn before it.
  const clips = new Map<string, string>();
  const chart = createHash('sha256')
    .update(svg.replace(/\bclip\d+\b/g, ''))
    .digest('hex')
    .slice(0, 8);
  const text = svg
    .replace(/\bclip\d+\b/g, (id) => clips.get(id) ?? clips.set(id, `clip-${chart}-${clips.size}`).get(id) ?? id)
    .replace(/<svg [^>]*viewBox="([^"]*)"[^>]*>/, (_, box: string) => {
      const [, , width = '0', height = '0'] = box.split(' ');
      return (
        `<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="${box}" width="${width}" ` +
        `height="${height}" style="max-width:${Math.round(Number(width) * 1.2)}px" role="group" ` +
        `aria-label="${escape(name)}">`
      );
    })
    // What only Vega's own renderer needs.
    .replace(/<path class="(?:background|foreground)"[^>]*\/>/g, '')
    .replace(
      / (?:class="[^"]*(?:mark-|role-)[^"]*"|pointer-events="none"|aria-roledescription="(?:group|line|area|text|rule|symbol|rect|bar) mark(?: container)?"|role="graphics-object")/g,
      '',
    )
    .replace(/ (?:opacity="1"|font-family="inherit"|font-weight="normal"|stroke-dasharray="")/g, '')
    .replace(/ role="graphics-symbol"/g, ' role="img"')
    .replace(/ (?:d|transform|[xy]2?)="[^"]*"/g, (attribute) => attribute.replace(/(\d+\.\d{2})\d+/g, '$1'))
    // Marks with numbers: reachable by keyboard, one stop for the chart and arrow keys within (script.ts); a title
    // where there is no script.
    .replace(
      /<path aria-label="([^"]*)" role="img" aria-roledescription="(?:point|circle|square|bar)"([^>]*)\/>/g,
      (_, label: string, rest: string) => {
        const stop = first ? '0' : '-1';
        first = false;
        return `<path class="mark" tabindex="${stop}" role="img"${rest}><title>${label}</title></path>`;
      },
    )
    .replace(/<path aria-label="[^"]*" role="img"(?! class)/g, '<path aria-hidden="true"');
  return trusted(text);
}

/**
 * Of points along a model's edges, those inside the plane; never more than a handful: each is a stop for the keyboard.
 */
function inside(
  y: Axis,
  points: readonly { readonly x: number; readonly y: number; readonly text: string }[],
): readonly { readonly x: number; readonly y: number; readonly text: string }[] {
  const seen = points.filter((point) => point.y >= y.domain[0] && point.y <= y.domain[1]);
  const step = Math.ceil(seen.length / 8);
  return seen.filter((_, at) => at % step === 0);
}

/** Lines over a logarithmic plane, each named at its end. */
export function lineChart(chart: LineChart): Promise<Markup> {
  const { x, y, width, height } = chart;
  const scale = (value: number): number => {
    const [low, high] = y.domain;
    return height * (1 - (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)));
  };
  const ends = [
    ...chart.series.map(({ label, look, points }) => ({ label, look, at: points.at(-1)?.y ?? y.domain[0] })),
    ...(chart.bands ?? []).map(({ label, look, points }) => ({
      label,
      look,
      at: Math.sqrt((points.at(-1)?.low ?? 1) * (points.at(-1)?.high ?? 1)),
    })),
  ];
  const placed = dodge(
    ends.map(({ at }) => scale(at)),
    14,
    height - 2,
  );
  const xScale = { type: 'log', base: 10, domain: [...x.domain], nice: false };
  const yScale = { type: 'log', domain: [...y.domain], nice: false };
  const xField = { field: 'x', type: 'quantitative', scale: xScale, axis: vegaAxis(x, { grid: false }) };
  const yField = {
    field: 'y',
    type: 'quantitative',
    scale: yScale,
    axis: vegaAxis(y, { domain: false, ticks: false }),
  };
  const spec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    width,
    height,
    config: CONFIG,
    padding: { left: 2, top: 8, right: 2, bottom: 2 },
    layer: [
      ...(chart.rules ?? []).map((rule) => ({
        data: { values: [{ y: rule.y }] },
        mark: { type: 'rule', color: 'var(--muted)', strokeDash: [1, 3], aria: false },
        encoding: { y: yField },
      })),
      ...(chart.rules ?? []).map((rule) => ({
        data: { values: [{ y: rule.y }] },
        mark: {
          type: 'text',
          align: 'left',
          baseline: 'bottom',
          dx: 3,
          dy: -2,
          fontSize: FONT_SIZE - 1,
          fill: 'var(--muted)',
          text: rule.label,
          aria: false,
        },
        encoding: { y: yField, x: { value: 0 } },
      })),
      ...(chart.bands ?? []).flatMap((band) => [
        {
          data: { values: band.points.map((point) => ({ x: point.x, y: point.low, high: point.high })) },
          mark: { type: 'area', fill: colour(band.look), fillOpacity: 0.16, clip: true, aria: false },
          encoding: { x: xField, y: yField, y2: { field: 'high' } },
        },
        ...(['low', 'high'] as const).map((edge) => ({
          data: { values: band.points.map((point) => ({ x: point.x, y: point[edge] })) },
          mark: {
            type: 'line',
            stroke: colour(band.look),
            strokeWidth: 1.5,
            strokeDash: [3, 3],
            clip: true,
            aria: false,
          },
          encoding: { x: xField, y: yField },
        })),
        {
          data: {
            values: inside(
              y,
              band.points.flatMap((point) => [
                { x: point.x, y: point.low, text: band.text },
                { x: point.x, y: point.high, text: band.text },
              ]),
            ),
          },
          mark: {
            type: 'point',
            filled: true,
            fill: colour(band.look),
            stroke: null,
            opacity: 1,
            size: 22,
            shape: band.look.shape,
          },
          encoding: { x: xField, y: yField, description: { field: 'text' } },
        },
      ]),
      ...chart.series.flatMap(({ look, points }) => [
        {
          data: { values: points.map((point) => ({ x: point.x, y: point.y })) },
          mark: {
            type: 'line',
            stroke: colour(look),
            strokeWidth: look.ink === 'pkeys' ? 2.6 : 1.8,
            strokeDash: [...look.dash],
            clip: true,
            aria: false,
          },
          encoding: { x: xField, y: yField },
        },
        ...(points.some((point) => point.low !== undefined)
          ? [
              {
                data: {
                  values: points
                    .filter((point) => point.low !== undefined)
                    .map((point) => ({ x: point.x, y: point.low, high: point.high })),
                },
                mark: { type: 'rule', stroke: colour(look), strokeWidth: 1.2, clip: true, aria: false },
                encoding: { x: xField, y: yField, y2: { field: 'high' } },
              },
            ]
          : []),
        {
          data: { values: points.map((point) => ({ x: point.x, y: point.y, text: point.text })) },
          mark: {
            type: 'point',
            filled: true,
            fill: colour(look),
            stroke: null,
            opacity: 1,
            size: look.shape === 'circle' ? 42 : 50,
            shape: look.shape,
          },
          encoding: { x: xField, y: yField, description: { field: 'text' } },
        },
      ]),
      {
        data: { values: ends.map(({ label, look }, at) => ({ py: placed[at], label, colour: colour(look) })) },
        mark: {
          type: 'text',
          align: 'left',
          baseline: 'middle',
          dx: 9,
          fontSize: FONT_SIZE,
          fontWeight: 600,
          aria: false,
        },
        encoding: {
          x: { value: width },
          y: { field: 'py', type: 'quantitative', scale: null },
          text: { field: 'label' },
          color: { field: 'colour', type: 'nominal', scale: null },
        },
      },
    ],
    resolve: { scale: { y: 'shared', x: 'shared' } },
  };
  return draw(spec as unknown as TopLevelSpec, chart.name);
}

/** An axis with only as many ticks as there is room for, on a logarithmic scale; the first one stays. */
function spaced(axis: Axis, room: number): Axis {
  const place = (value: number): number =>
    ((Math.log(value) - Math.log(axis.domain[0])) / (Math.log(axis.domain[1]) - Math.log(axis.domain[0]))) * room;
  const ticks: number[] = [];
  for (const tick of axis.ticks)
    if (ticks.length === 0 || place(tick) - place(ticks.at(-1) ?? tick) >= 1) ticks.push(tick);
  return { ...axis, ticks };
}

/** Dots on rows: one row for each thing, one dot for each mechanism or value. */
export function dotChart(chart: DotChart): Promise<Markup> {
  const x = spaced(chart.x, chart.width / 42);
  const xField = (field = 'x'): object => ({
    field,
    type: 'quantitative',
    scale: { type: 'log', base: 10, domain: [...x.domain], nice: false },
    axis: vegaAxis(x),
  });
  const yField = {
    field: 'row',
    type: 'nominal',
    sort: null,
    scale: { paddingInner: 0.5 },
    title: null,
    axis: {
      ticks: false,
      domain: false,
      grid: true,
      labelColor: 'var(--ink)',
      labelPadding: 8,
      labelExpr: `${JSON.stringify(chart.rows.map(({ label }) => label))}[datum.value]`,
    },
  };
  const dots = chart.rows.flatMap(({ dots: list }, row) => list.map((dot) => ({ ...dot, row })));
  const intervals = dots.filter((dot) => dot.low !== undefined);
  const spec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    width: chart.width,
    height: { step: 22 },
    config: CONFIG,
    padding: 2,
    layer: [
      ...(chart.reference === undefined
        ? []
        : [
            {
              data: { values: [{ x: chart.reference }] },
              mark: { type: 'rule', color: 'var(--muted)', strokeDash: [1, 3], aria: false },
              encoding: { x: xField() },
            },
          ]),
      ...(intervals.length === 0
        ? []
        : [
            {
              data: {
                values: intervals.map((dot) => ({
                  row: dot.row,
                  x: dot.low,
                  high: dot.high,
                  colour: colour(dot.look),
                })),
              },
              mark: { type: 'rule', strokeWidth: 1.4, clip: true, aria: false },
              encoding: {
                x: xField(),
                x2: { field: 'high' },
                y: yField,
                color: { field: 'colour', type: 'nominal', scale: null },
              },
            },
          ]),
      {
        data: {
          values: dots.map((dot) => ({
            row: dot.row,
            x: dot.x,
            text: dot.text,
            colour: colour(dot.look),
            shape: dot.look.shape,
          })),
        },
        mark: { type: 'point', filled: true, stroke: null, opacity: 1, size: 55 },
        encoding: {
          x: xField(),
          y: yField,
          description: { field: 'text' },
          color: { field: 'colour', type: 'nominal', scale: null },
          shape: { field: 'shape', type: 'nominal', scale: null },
        },
      },
    ],
  };
  return draw(spec as unknown as TopLevelSpec, chart.name);
}

export interface BarChart {
  readonly name: string;
  readonly width: number;
  readonly rows: readonly { readonly label: string; readonly segments: readonly Segment[] }[];
  readonly title: string;
  readonly format: (value: number) => string;
}

/** A part of a bar. */
export interface Segment {
  readonly ink: string;
  readonly value: number;
  readonly text: string;
}

/** At most five round ticks from zero. */
export function linearTicks(most: number): readonly number[] {
  const raw = most / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1e-9)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw) ?? power;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => at * step);
}

/** Bars of stacked parts on a linear axis. */
export function barChart(chart: BarChart): Promise<Markup> {
  const most = Math.max(...chart.rows.map(({ segments }) => segments.reduce((sum, { value }) => sum + value, 0)), 1e-9);
  const x: Axis = { title: chart.title, domain: [0, most * 1.02], ticks: linearTicks(most), format: chart.format };
  const bars = chart.rows
    .flatMap(({ segments }, row) => {
      let from = 0;
      return segments.map(({ ink, value, text }) => {
        const bar = { row, x: from, x2: from + value, text, colour: `var(--m-${ink})` };
        from += value;
        return bar;
      });
    })
    .filter((bar) => bar.x2 > bar.x);
  const spec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    width: chart.width,
    height: { step: 26 },
    config: CONFIG,
    padding: 2,
    data: { values: bars },
    mark: { type: 'bar', stroke: 'var(--bg)', strokeWidth: 1 },
    encoding: {
      x: { field: 'x', type: 'quantitative', scale: { domain: [...x.domain], nice: false }, axis: vegaAxis(x) },
      x2: { field: 'x2' },
      y: {
        field: 'row',
        type: 'nominal',
        sort: null,
        scale: { paddingInner: 0.35 },
        title: null,
        axis: {
          ticks: false,
          domain: false,
          labelColor: 'var(--ink)',
          labelPadding: 8,
          labelExpr: `${JSON.stringify(chart.rows.map(({ label }) => label))}[datum.value]`,
        },
      },
      color: { field: 'colour', type: 'nominal', scale: null },
      description: { field: 'text' },
    },
  };
  return draw(spec as unknown as TopLevelSpec, chart.name);
}
