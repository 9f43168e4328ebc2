/** Charts with a row for each thing: dots on a logarithmic axis, bars of stacked parts on a linear one. */
import type { Axis, BarChart, DotChart } from '../findings/charts.js';
import { colour, logScale, specification, vegaAxis } from './chart.js';
import { draw } from './draw.js';
import { LOOKS, PART_INKS, SHAPES } from './looks.js';
import type { Drawing } from './svg.js';

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
export function dotChart(chart: DotChart, width: number): Promise<Drawing> {
  const x = spaced(chart.x, width / 42);
  const xField = (field = 'x'): object => ({
    field,
    type: 'quantitative',
    scale: logScale(x),
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
  const dots = chart.rows.flatMap(({ dots: list }, row) =>
    list.map((dot) => {
      const look = LOOKS[dot.look];
      return { ...dot, row, colour: colour(look), shape: dot.shape === undefined ? look.shape : SHAPES[dot.shape] };
    }),
  );
  const intervals = dots.filter((dot) => dot.low !== undefined);
  const spec = specification({
    width,
    height: { step: 22 },
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
                  colour: dot.colour,
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
            colour: dot.colour,
            shape: dot.shape,
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
  });
  return draw(spec, chart.name);
}

/** At most five round ticks from zero. */
export function linearTicks(most: number): readonly number[] {
  const raw = most / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1e-9)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= raw) ?? power;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => at * step);
}

/** Bars of stacked parts on a linear axis. */
export function barChart(chart: BarChart, width: number): Promise<Drawing> {
  const most = Math.max(...chart.rows.map(({ segments }) => segments.reduce((sum, { value }) => sum + value, 0)), 1e-9);
  const x: Axis = { title: chart.title, domain: [0, most * 1.02], ticks: linearTicks(most), unit: chart.unit };
  const bars = chart.rows
    .flatMap(({ segments }, row) => {
      let from = 0;
      return segments.map(({ part, value, text }) => {
        const bar = { row, x: from, x2: from + value, text, colour: `var(--m-${PART_INKS[part] ?? PART_INKS[0]})` };
        from += value;
        return bar;
      });
    })
    .filter((bar) => bar.x2 > bar.x);
  const spec = specification({
    width,
    height: { step: 26 },
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
  });
  return draw(spec, chart.name);
}
