/** Charts of lines, by Vega-Lite. Every mark carries its numbers as its accessible name. */
import type { Axis, LineChart } from '../findings/charts.js';
import { colour, FONT_SIZE, logScale, specification, vegaAxis } from './chart.js';
import { draw } from './draw.js';
import { LOOKS } from './looks.js';
import type { Drawing } from './svg.js';

/** The size of the plane, in px. */
export interface Size {
  readonly width: number;
  readonly height: number;
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

/**
 * The points along a model's edges that lie inside the plane. There are never more than a handful: each is a stop for
 * the keyboard.
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
export function lineChart(chart: LineChart, { width, height }: Size): Promise<Drawing> {
  const { x, y } = chart;
  const bands = (chart.bands ?? []).map((band) => ({ ...band, look: LOOKS[band.look] }));
  const scale = (value: number): number => {
    const [low, high] = y.domain;
    return height * (1 - (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)));
  };
  const ends = [
    ...chart.series.map(({ label, look, points }) => ({
      label,
      look: LOOKS[look],
      at: points.at(-1)?.y ?? y.domain[0],
    })),
    ...bands.map(({ label, look, points }) => ({
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
  const [xScale, yScale] = [logScale(x), logScale(y)];
  const xField = { field: 'x', type: 'quantitative', scale: xScale, axis: vegaAxis(x, { grid: false }) };
  const yField = {
    field: 'y',
    type: 'quantitative',
    scale: yScale,
    axis: vegaAxis(y, { domain: false, ticks: false }),
  };
  const spec = specification({
    width,
    height,
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
      ...bands.flatMap((band) => [
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
      ...chart.series
        .map(({ look, points }) => ({ look: LOOKS[look], points }))
        .flatMap(({ look, points }) => [
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
  });
  return draw(spec, chart.name);
}
