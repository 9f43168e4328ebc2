/**
 * The cost sections: for each experiment a chart for each lane, and a table that says the same; the ladder; the
 * break-even.
 */
import type { Run } from '../../record/records.js';
import { type Lane, LANES, type Mechanism, MECHANISMS } from '../../record/words.js';
import { experimentsOf } from '../cost-tables.js';
import {
  addedPerCallout,
  type ApplicationRate,
  applicationRates,
  faultTimelines,
  fitsOf,
  gateParts,
  koffiKeys,
  ladders,
  modelSteps,
  rateAt,
  suffered,
} from '../derived.js';
import { formatBytes, formatCount, formatNs } from '../format.js';
import { type Axis, barChart, type Dot, dotChart, lineChart, logAxis, type Series } from './charts.js';
import {
  type Cost,
  costs,
  describeCost,
  EVENTS_NOTE,
  eventsText,
  gridOf,
  type KeyModel,
  keyModel,
  nameText,
  plainValue,
  type Ratio,
  ratioOf,
  sizeOf,
  timesText,
  valueOf,
  variantOf,
} from './figures.js';
import { type Content, html, type Markup } from './markup.js';
import { formatInstructions, formatTickNs, modelText, seriesBySize, sizeAxis } from './picture.js';
import { EXPERIMENTS, LANE_MEANINGS, MECHANISM_LOOKS, WRPKRU_CYCLES } from './words.js';

const CHART = { width: 212, height: 205 } as const;
/** More rows than this are left to the table. */
const MOST_ROWS = 28;

/** A section of the report: a heading's id, its title, its content. */
export interface Section {
  readonly id: string;
  readonly title: string;
  readonly body: Markup;
}

function panel(lane: Lane, title: string, chart: Markup): Markup {
  return html`<div class="panel${lane === 'model' && ' model'}">
    <h4>${title}</h4>
    <p class="lane">${lane} lane: ${LANE_MEANINGS[lane] ?? ''}</p>
    ${chart}
  </div>`;
}

function unitAxis(cells: readonly { readonly value: number }[], unit: Cost['unit'], what = ''): Axis {
  const title = `${what}${unit === 'ns' ? 'time' : 'instructions'}, log`;
  return logAxis(
    cells.map(({ value }) => value),
    title,
    unit === 'ns' ? formatTickNs : formatInstructions,
  );
}

const mechanismHead = (mechanism: Mechanism): Markup =>
  html`<th scope="col" class="n m-${MECHANISM_LOOKS[mechanism].ink}" style="color:var(--m)">${mechanism}</th>`;

/**
 * One cost in a table's cell: the value, how many times the unguarded one; interval and events on hover and for screen
 * readers.
 */
function costCell(cost: Cost | undefined, all: readonly Cost[]): Markup {
  if (cost === undefined) return html`<td class="n missing">–</td>`;
  const ratio = ratioOf(cost, all);
  return html`<td class="n" title="${describeCost(cost)}">
    ${valueOf(cost, cost.value)}${ratio !== null && html` <span class="lead">${timesText(ratio.ratio)}</span>`}${eventsText(cost) !== '' && html` <small class="lead">${eventsText(cost)}</small>`}
  </td>`;
}

/** All cells of an experiment in one lane: variations by mechanisms. */
function costTable(cells: readonly Cost[], lane: Lane, all: readonly Cost[]): Markup {
  const { names, mechanisms, rows } = gridOf(cells, lane);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table, ${lane} lane">
    <table>
      <caption>
        ${lane} lane:
        ${LANE_MEANINGS[lane] ?? ''}${cells.some((cost) => cost.lane === lane && ratioOf(cost, all) !== null) && '. × is how many times the unguarded row.'}${cells.some((cost) => cost.lane === lane && eventsText(cost) !== '') && `. ${EVENTS_NOTE}.`}
      </caption>
      <thead>
        <tr>
          ${names.map((name) => html`<th scope="col">${nameText(name)}</th>`)}${mechanisms.map(mechanismHead)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ values, cells: row }) =>
            html`<tr>
              ${values.map((value, at) => html`<td>${plainValue(names[at] ?? '', value)}</td>`)}${row.map((cost) => costCell(cost, all))}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Outliers of one row named here; the rest are in the raw data. */
const MOST_OUTLIERS = 4;

/** Median, interval, deviation, outliers and paired ratio of each timed row. */
function statisticsTable(cells: readonly Cost[], all: readonly Cost[]): Markup | null {
  const timed = cells.filter(({ unit, interval }) => unit === 'ns' && interval !== null);
  if (timed.length === 0) return null;
  return html`<details>
    <summary>Intervals, deviations, outliers and paired ratios</summary>
    <div class="scroll" tabindex="0" role="region" aria-label="Statistics">
      <table class="small">
        <thead>
          <tr>
            <th scope="col">mechanism</th>
            <th scope="col">variation</th>
            <th scope="col" class="n">median</th>
            <th scope="col" class="n">95 % interval</th>
            <th scope="col" class="n">MAD</th>
            <th scope="col" class="n">samples</th>
            <th scope="col" class="n">× unguarded, 95 %</th>
            <th scope="col">outliers (number: value)</th>
          </tr>
        </thead>
        <tbody>
          ${timed.map((cost) => {
            const ratio = ratioOf(cost, all);
            const outliers = cost.spread?.outliers ?? [];
            return html`<tr>
              <th scope="row">${cost.mechanism}</th>
              <td>${variantOf(cost, [])}</td>
              <td class="n">${valueOf(cost, cost.value)}</td>
              <td class="n">${valueOf(cost, cost.interval?.low ?? 0)} to ${valueOf(cost, cost.interval?.high ?? 0)}</td>
              <td class="n">${valueOf(cost, cost.spread?.mad ?? 0)}</td>
              <td class="n">${cost.samples.length}</td>
              <td class="n">
                ${ratio?.interval != null && `${timesText(ratio.ratio)}, ${timesText(ratio.interval.low)} to ` + `${timesText(ratio.interval.high)}${ratio.paired ? '' : ' (not paired)'}`}
              </td>
              <td>
                ${outliers
                  .slice(0, MOST_OUTLIERS)
                  .map(({ sample, value }) => `${sample}: ${valueOf(cost, value)}`)
                  .join(', ')}${outliers.length > MOST_OUTLIERS && ` and ${outliers.length - MOST_OUTLIERS} more`}
              </td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>
  </details>`;
}

/** Parameters that make an x axis, best first: the first with more than one value in the cells. */
const X_PARAMETERS = [
  'imageBytes',
  'pages',
  'touchedPages',
  'revisitedPages',
  'threads',
  'chunkBytes',
  'spaces',
  'cycles',
  'calloutsPerSecond',
] as const;

function xParameter(cells: readonly Cost[]): string | undefined {
  return X_PARAMETERS.find((name) => {
    const values = cells.map((cost) => cost.varied[name]).filter((value) => typeof value === 'number');
    return values.length === cells.length && new Set(values).size > 1;
  });
}

/** Experiments whose question is how much slower something gets. */
const RELATIVE: ReadonlySet<string> = new Set(['applications', 'threads', 'model-run', 'revisit', 'lua-programs']);

/** Of these, rows of dots: what they vary in steps is not their question. */
const ON_ROWS: ReadonlySet<string> = new Set(['applications', 'threads', 'model-run']);

/** One series for each length of the model's delay. */
const CYCLE_SHAPES = [
  { shape: 'circle', sign: '●' },
  { shape: 'square', sign: '■' },
  { shape: 'triangle-up', sign: '▲' },
] as const;

/** A row of a chart of dots: what is varied besides the image's size and the model's cycles. */
function rowLabel(cost: Cost): string {
  return variantOf(cost, ['imageBytes', 'pages', 'cycles', ...(cost.experiment === 'threads' ? ['what'] : [])]);
}

/** Ratios around and above 1. */
function ratioAxis(ratios: readonly number[], unit: Cost['unit']): Axis {
  const low = Math.min(0.95, ...ratios) * 0.98;
  const high = Math.max(1.5, ...ratios) * 1.05;
  const ticks =
    high / low > 50
      ? [0.01, 0.1, 1, 10, 100, 1000, 10_000, 1e5].filter((tick) => tick >= low && tick <= high)
      : [0.1, 0.5, 1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000, 10_000].filter((tick) => tick >= low && tick <= high);
  return {
    title: unit === 'ns' ? 'times as long, log' : 'times as many instructions, log',
    domain: [low, high],
    ticks,
    format: (value) => `×${value < 10 ? value : formatCount(value)}`,
  };
}

function ratioText({ ratio, interval, paired }: Ratio): string {
  return `${timesText(ratio)}${interval === null ? '' : ` (95 % ${timesText(interval.low)} to ${timesText(interval.high)}${paired ? ', by pairs' : ''})`}`;
}

/** Lines where something is varied in steps, dots otherwise. */
async function experimentChart(
  experiment: string,
  cells: readonly Cost[],
  lane: Lane,
  name: string,
  all: readonly Cost[],
): Promise<readonly Markup[]> {
  const here = cells.filter((cost) => cost.lane === lane && cost.value > 0);
  const unit = here[0]?.unit;
  if (unit === undefined) return [];
  if (experiment === 'callout-koffi') return koffiChart(here, name);
  const x = ON_ROWS.has(experiment) ? undefined : xParameter(here);
  if (x !== undefined) {
    const constant = [...new Set(here.flatMap(({ varied }) => Object.keys(varied)))].filter(
      (one) => one !== x && new Set(here.map(({ varied }) => varied[one])).size === 1,
    );
    const variants = [...new Set(here.map((cost) => variantOf(cost, [x, 'pages', ...constant])))];
    const axis = (list: readonly number[]): Axis => {
      if (x.endsWith('Bytes'))
        return { ...sizeAxis(list), title: x === 'imageBytes' ? 'image size' : x.replace(/Bytes$/, '') };
      const sorted = [...new Set(list)].sort((a, b) => a - b);
      const step = Math.ceil(sorted.length / 6);
      const [least, most] = [sorted[0] ?? 1, sorted.at(-1) ?? 2];
      const room = (most / least) ** 0.03;
      return {
        title: nameText(x),
        domain: [least / room, most * room],
        ticks: sorted.filter((_, at) => at % step === 0),
        format: formatCount,
      };
    };
    const positive = here.every((cost) => Number(cost.varied[x]) > 0);
    if (positive && variants.length <= 6) {
      const y = unitAxis(here, unit);
      return Promise.all(
        variants.map(async (variant) => {
          const group = here.filter((cost) => variantOf(cost, [x, 'pages', ...constant]) === variant);
          const series: readonly Series[] = seriesBySize(
            group.map((cost) => ({ ...cost, varied: { ...cost.varied, imageBytes: Number(cost.varied[x]) } })),
          ).map((one) => ({
            ...one,
            points: group
              .filter((cost) => cost.mechanism === one.name)
              .map((cost) => ({
                x: Number(cost.varied[x]),
                y: cost.value,
                text: describeCost(cost),
                ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }),
              }))
              .sort((a, b) => a.x - b.x),
          }));
          const title = variant === '' ? (unit === 'ns' ? 'Time' : 'Executed instructions') : variant;
          return panel(
            lane,
            title,
            await lineChart({
              name: `${name}, ${title}, ${lane} lane`,
              ...CHART,
              x: axis(here.map((cost) => Number(cost.varied[x]))),
              y,
              series,
            }),
          );
        }),
      );
    }
  }
  if (RELATIVE.has(experiment)) {
    const slowed = here.flatMap((cost) => {
      const ratio = ratioOf(cost, all);
      return ratio === null || cost.mechanism === 'none' ? [] : [{ cost, label: rowLabel(cost), ratio }];
    });
    const labels = [...new Set(slowed.map(({ label }) => label))];
    if (slowed.length > 0 && labels.length <= MOST_ROWS) {
      const byCycles = [...new Set(slowed.map(({ cost }) => cost.varied['cycles']))]
        .filter((cycles) => typeof cycles === 'number')
        .sort((a, b) => a - b);
      const shape = (cost: Cost): string =>
        CYCLE_SHAPES[byCycles.indexOf(Number(cost.varied['cycles'])) % CYCLE_SHAPES.length]?.shape ??
        MECHANISM_LOOKS[cost.mechanism].shape;
      const told = byCycles
        .map((cycles, at) => `${CYCLE_SHAPES[at % CYCLE_SHAPES.length]?.sign ?? ''} ${cycles} cycles`)
        .join(', ');
      // Threads: what the others lose, and what the callouts lose to them, are two questions.
      const questions = [
        ...new Set(slowed.map(({ cost }) => (experiment === 'threads' ? String(cost.varied['what'] ?? '') : ''))),
      ];
      return Promise.all(
        questions.map(async (question) =>
          panel(
            lane,
            `${question === '' ? 'Times' : `One ${question}: times`} as ` +
              `${unit === 'ns' ? 'long as' : 'many instructions as'} unguarded${told === '' ? '' : `: ${told}`}`,
            await dotChart({
              name: `${name}${question === '' ? '' : `, ${question}`}, slowdown, ${lane} lane`,
              width: 250,
              x: ratioAxis(
                slowed.map(({ ratio }) => ratio.ratio),
                unit,
              ),
              reference: 1,
              rows: labels.map((label) => ({
                label,
                dots: slowed
                  .filter((one) => one.label === label && (question === '' || one.cost.varied['what'] === question))
                  .map(({ cost, ratio }): Dot => ({
                    look: { ...MECHANISM_LOOKS[cost.mechanism], shape: shape(cost) },
                    x: ratio.ratio,
                    ...(ratio.interval === null ? {} : { low: ratio.interval.low, high: ratio.interval.high }),
                    text:
                      `${ratioText(ratio)} the unguarded ${unit === 'ns' ? 'time' : 'instructions'}: ` +
                      `${describeCost(cost)}`,
                  })),
              })),
            }),
          ),
        ),
      );
    }
  }
  const rows = new Map<string, Dot[]>();
  for (const cost of here) {
    const label = variantOf(cost, ['pages']) || cost.mechanism;
    const dot: Dot = {
      look: MECHANISM_LOOKS[cost.mechanism],
      x: cost.value,
      text: describeCost(cost),
      ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }),
    };
    rows.set(label, [...(rows.get(label) ?? []), dot]);
  }
  if (rows.size > MOST_ROWS) return [];
  return [
    panel(
      lane,
      unit === 'ns' ? 'Time' : 'Executed instructions',
      await dotChart({
        name: `${name}, ${lane} lane`,
        width: 210,
        rows: [...rows].map(([label, dots]) => ({ label, dots })),
        x: unitAxis(here, unit),
      }),
    ),
  ];
}

/** A function of N-API written by hand: no mechanism, and not koffi either. */
const BY_HAND = { ink: 'process', dash: [], shape: 'triangle-right' } as const;

/**
 * Calls from JavaScript: one panel for each image size, one row for each call; koffi itself and N-API functions on
 * each.
 */
async function koffiChart(cells: readonly Cost[], name: string): Promise<readonly Markup[]> {
  const signatures = [...new Set(cells.map(({ varied }) => String(varied['signature'])))];
  const sizes = [...new Set(cells.flatMap((cost) => sizeOf(cost) ?? []))].sort((a, b) => a - b);
  return Promise.all(
    sizes.map(async (size) => {
      const shown = cells.filter((cost) =>
        cost.varied['by'] === 'guard' ? sizeOf(cost) === size && cost.mechanism !== 'none' : true,
      );
      return panel(
        'native',
        `Image of ${formatBytes(size)}: ● koffi itself, ▶ N-API by hand`,
        await dotChart({
          name: `${name}, image of ${formatBytes(size)}`,
          width: 215,
          x: unitAxis(cells, 'ns'),
          rows: signatures.map((signature) => ({
            label: signature,
            dots: shown
              .filter(({ varied }) => varied['signature'] === signature)
              .map((cost): Dot => ({
                look: cost.varied['by'] === 'N-API' ? BY_HAND : MECHANISM_LOOKS[cost.mechanism],
                x: cost.value,
                text: describeCost(cost),
                ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }),
              })),
          })),
        }),
      );
    }),
  );
}

/** The mechanisms of charts, by colour, dash and shape. */
export function mechanismKey(mechanisms: readonly Mechanism[]): Markup {
  return html`<ul class="key" aria-label="Mechanisms">
    ${MECHANISMS.filter((mechanism) => mechanisms.includes(mechanism)).map(
      (mechanism) =>
        html`<li class="m-${MECHANISM_LOOKS[mechanism].ink}">
          <b>${mechanism}</b> ${MECHANISM_LOOKS[mechanism].meaning}
        </li>`,
    )}
  </ul>`;
}

/** Straight lines through costs by pages. */
function fits(cells: readonly Cost[]): Markup | null {
  const found = fitsOf(cells);
  if (found.length === 0) return null;
  const slope = ({ unit }: Cost, perPage: number): string =>
    unit === 'ns'
      ? Math.abs(perPage) < 0.005
        ? '0 ns'
        : formatNs(perPage)
      : Math.abs(perPage) < 0.0005
        ? '0 instr.'
        : Math.abs(perPage) < 10
          ? `${perPage.toFixed(3)} instr.`
          : valueOf({ unit }, perPage);
  return html`<details>
    <summary>Straight lines through it</summary>
    <p class="lead">Least squares over 4 KiB pages. A slope of zero is what “keys are flat” means.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Fits">
      <table>
        <thead>
          <tr>
            <th scope="col">lane</th>
            <th scope="col">mechanism</th>
            <th scope="col">variation</th>
            <th scope="col" class="n">intercept</th>
            <th scope="col" class="n">per page</th>
            <th scope="col" class="n">r²</th>
          </tr>
        </thead>
        <tbody>
          ${found.map(
            ({ first, variant, intercept, perPage, rSquared }) =>
              html`<tr>
                <td>${first.lane}</td>
                <th scope="row">${first.mechanism}</th>
                <td>${variant}</td>
                <td class="n">${valueOf(first, intercept)}</td>
                <td class="n">${slope(first, perPage)}</td>
                <td class="n">${rSquared === undefined ? 'constant' : rSquared.toFixed(4)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}

/** Parts of a failed callout by colour, in the order of time. */
const PART_INKS = ['part-gate', 'part-kernel', 'part-handler', 'part-javascript'] as const;

/** Where a failed callout's time goes: one bar for each mechanism and occurrence, times and counts apart. */
async function faultTimeline(run: Run): Promise<Markup | null> {
  const all = faultTimelines(run);
  if (all.length === 0) return null;
  const names = [...new Set(all.flatMap(({ parts }) => parts.map(({ name }) => name)))];
  const lanes = LANES.filter((lane) => all.some((one) => one.lane === lane));
  const panels = await Promise.all(
    lanes.map(async (lane) => {
      const here = all.filter((one) => one.lane === lane);
      const unit = here[0]?.unit ?? 'ns';
      return panel(
        lane,
        unit === 'ns' ? 'Time of one failed callout' : 'Instructions of one failed callout',
        await barChart({
          name: `Parts of a failed callout, ${lane} lane`,
          width: 250,
          title: unit === 'ns' ? 'time' : 'instructions',
          format: unit === 'ns' ? formatTickNs : formatInstructions,
          rows: here.map(({ mechanism, occurrence, parts }) => ({
            label: `${mechanism}${occurrence === 'first' ? ', first' : ''}`,
            segments: parts.map(({ name, value }) => ({
              ink: PART_INKS[names.indexOf(name)] ?? 'part-gate',
              value,
              text:
                `${mechanism}, ${occurrence === 'first' ? 'the first fault of its process' : 'a later fault'}, ` +
                `${name}: ${valueOf({ unit }, value)}, ${lane} lane`,
            })),
          })),
        }),
      );
    }),
  );
  return html`<h3>From the bad store to the caught error</h3>
    <p class="lead">
      Parts are differences of rows measured in the same rounds. <code>first</code> is the first fault of its process.
    </p>
    <ul class="key" aria-label="Parts">
      ${names.map((name, at) => html`<li class="m-${PART_INKS[at] ?? 'part-gate'}"><b>■</b> ${name}</li>`)}
    </ul>
    <div class="panels">${panels}</div>`;
}

const perSecond = (rate: number): string => (rate === 0 ? '–' : formatCount(rate));

/**
 * Crossings a second, and what each mechanism does to the work; beside it, apart, what published latencies say of keys.
 */
function ratesTable(rates: readonly ApplicationRate[], model: KeyModel | null): Markup | null {
  if (rates.length === 0) return null;
  const mechanisms = MECHANISMS.filter((mechanism) =>
    rates.some(({ slowdowns }) => slowdowns.some(({ cost }) => cost.mechanism === mechanism)),
  );
  const share = ({ callouts, callbacks, reads, baseline }: ApplicationRate, ns: number): string =>
    ((((callouts + callbacks + reads) * ns) / baseline.value) * 100).toPrecision(2);
  return html`<h3>Callouts a second, and what they cost the work</h3>
    <div class="scroll" tabindex="0" role="region" aria-label="Callouts a second by application">
      <table>
        <thead>
          <tr>
            <th scope="col">application</th>
            <th scope="col">one unit of it</th>
            <th scope="col" class="n">unguarded</th>
            <th scope="col" class="n">callouts a second</th>
            <th scope="col" class="n">callbacks a second</th>
            ${mechanisms.map(mechanismHead)}${model !== null && html`<th scope="col" class="n m-model" style="color:var(--m)">keys add, model</th>`}
          </tr>
        </thead>
        <tbody>
          ${rates.map(
            (rate) =>
              html`<tr>
                <th scope="row">${rate.application}</th>
                <td>${rate.unit}</td>
                <td class="n">${formatNs(rate.baseline.value)}</td>
                <td class="n">${perSecond(rate.calloutsPerSecond)}</td>
                <td class="n">${perSecond(rate.callbacksPerSecond)}</td>
                ${mechanisms.map((mechanism) => {
                  const found = rate.slowdowns.find(({ cost }) => cost.mechanism === mechanism);
                  return found === undefined
                    ? html`<td class="n missing">–</td>`
                    : html`<td class="n" title="${describeCost(found.cost)}">
                        ${found.ratio === null ? '' : timesText(found.ratio.ratio)}
                      </td>`;
                })}${model !== null && html`<td class="n m-model" style="color:var(--m)">${rate.callouts + rate.callbacks === 0 ? '–' : `${share(rate, model.leastNs)} to ${share(rate, model.mostNs)} %`}</td>`}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${model !== null && html`<p class="lead">“keys add, model”: two rights writes for each callout, each callback, and each guarded copy of what a callback reads, at ${WRPKRU_CYCLES.least} to ${WRPKRU_CYCLES.most} cycles, over the unguarded time. Computed, not measured.</p>`}`;
}

/** What can be said of keys from JavaScript where the CPU has none. */
function koffiNote(run: Run): Markup | null {
  const known = koffiKeys(run);
  const counted = known.find(({ moreInstructions }) => moreInstructions !== null);
  if (counted === undefined) return null;
  const modelled = known.some(({ model }) => model !== null);
  return html`<h3>Under keys</h3>
    <p>
      Nothing from JavaScript is counted: the compiler and the collector run on the same processor. So the cost of a
      callout from JavaScript under keys is given in parts that are not added up: what was <b>measured</b> under
      <code>flag</code>, and the ${formatCount(counted.moreInstructions ?? 0)} instructions, two of them rights writes,
      that keys were <b>counted</b> to add to a callout in C. A callback during the call writes rights twice
      more${modelled && '. What the writes take by published latencies is a model'}.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label="Callouts from JavaScript under keys">
      <table>
        <thead>
          <tr>
            <th scope="col">call</th>
            <th scope="col" class="n">flag, measured</th>
            <th scope="col" class="n">rights writes</th>
            <th scope="col" class="n">keys add, counted</th>
            ${modelled && html`<th scope="col" class="n m-model" style="color:var(--m)">keys add, model</th>`}
          </tr>
        </thead>
        <tbody>
          ${known.map(
            ({ signature, flag, rightsWrites, moreInstructions, model }) =>
              html`<tr>
                <th scope="row">${signature}</th>
                <td class="n" title="${describeCost(flag)}">${formatNs(flag.value)}</td>
                <td class="n">${rightsWrites}</td>
                <td class="n">
                  ${moreInstructions === null ? 'not counted' : `${formatCount(moreInstructions)} instr.`}
                </td>
                ${model !== null && html`<td class="n m-model" style="color:var(--m)">${formatNs(model.leastNs)} to ${formatNs(model.mostNs)}</td>`}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

/** What each part of the gate adds; times and counts in columns of their own. */
function gatePartsTable(run: Run): Markup | null {
  const parts = gateParts(run);
  if (parts.length === 0) return null;
  const lanes = LANES.filter((lane) => parts.some((one) => one.lane === lane));
  return html`<h3>What the parts add</h3>
    <p class="lead">
      Differences of rows of the same rounds; a difference below what the machine's noise allows may come out below
      zero.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label="Parts of the gate">
      <table>
        <thead>
          <tr>
            <th scope="col">part</th>
            ${lanes.map((lane) => html`<th scope="col" class="n">${lane} lane</th>`)}
          </tr>
        </thead>
        <tbody>
          ${[...new Set(parts.map(({ part }) => part))].map(
            (part) =>
              html`<tr>
                <th scope="row">${part}</th>
                ${lanes.map((lane) => {
                  const found = parts.find((one) => one.part === part && one.lane === lane);
                  return found === undefined
                    ? html`<td class="n missing">–</td>`
                    : html`<td class="n">${valueOf(found, found.value)}</td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

/** Bystanders' faults, waits and windows without protection. */
function sufferedTable(run: Run, experiment: 'threads' | 'lua-threads'): Markup | null {
  const rows = suffered(run, experiment);
  if (rows.length === 0) return null;
  return html`<details>
    <summary>Faults and waits of bystanders, unprotected windows</summary>
    <p class="lead">
      Over all windows measured. A thread that faults on a closed image waits until it is open; past a limit it opens
      it, and an unprotected window is counted. From ${run.context.host.cores} threads besides the first on, processors
      are oversubscribed; interruptions of more than ${run.context.host.cores} processors (TLB shootdown) could not be
      measured here.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label="Bystanders">
      <table>
        <thead>
          <tr>
            <th scope="col">work of the others</th>
            <th scope="col" class="n">threads</th>
            <th scope="col">mechanism</th>
            <th scope="col" class="n">faults</th>
            <th scope="col" class="n">waited</th>
            <th scope="col" class="n">unprotected windows</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ cost, threads, work, faults, waitedNs, windows }) =>
              html`<tr>
                <td>${work}</td>
                <td class="n">${threads}${threads >= run.context.host.cores && ' (oversubscribed)'}</td>
                <th scope="row">${cost.mechanism}</th>
                <td class="n">${formatCount(faults)}</td>
                <td class="n">${waitedNs === 0 ? '0' : formatNs(waitedNs)}</td>
                <td class="n">${formatCount(windows)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}

/** What an experiment's section has besides its chart and its numbers. */
async function more(experiment: string, run: Run): Promise<Content> {
  switch (experiment) {
    case 'fault':
      return faultTimeline(run);
    case 'applications':
      return ratesTable(applicationRates(run, experiment), keyModel(run));
    case 'model-run':
      return html`<p class="lead">
          A model: nothing was protected in these runs. The delay stands where the gate would write rights, and was
          calibrated in each process${calibrated(run)}. It is never set in one series with measured keys.
        </p>
        ${modelTable(run)}`;
    case 'callout-koffi':
      return koffiNote(run);
    case 'gate':
      return gatePartsTable(run);
    case 'threads':
    case 'lua-threads':
      return sufferedTable(run, experiment);
    default:
      return null;
  }
}

/** What the delays add to work that has the trap already. */
function modelTable(run: Run): Markup | null {
  const steps = modelSteps(run);
  if (steps.length === 0) return null;
  const cycles = [...new Set(steps.map((step) => step.cycles))].sort((a, b) => a - b);
  return html`<h3>What the delays add to the trap</h3>
    <div class="scroll" tabindex="0" role="region" aria-label="Model run over flag">
      <table>
        <caption>
          model lane: ${LANE_MEANINGS['model'] ?? ''}. × is how many times the same work under flag, by pairs; 95 %
          intervals.
        </caption>
        <thead>
          <tr>
            <th scope="col">application</th>
            ${cycles.map((count) => html`<th scope="col" class="n m-model" style="color:var(--m)">${count} cycles</th>`)}
          </tr>
        </thead>
        <tbody>
          ${[...new Set(steps.map(({ application }) => application))].map(
            (application) =>
              html`<tr>
                <th scope="row">${application}</th>
                ${cycles.map((count) => {
                  const step = steps.find((one) => one.application === application && one.cycles === count);
                  return step === undefined
                    ? html`<td class="n missing">–</td>`
                    : html`<td class="n" title="${describeCost(step.cost)}">
                        ${timesText(step.overFlag.ratio)}
                        <span class="lead"
                          >${timesText(step.overFlag.interval.low)} to ${timesText(step.overFlag.interval.high)}</span
                        >
                      </td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

/** What the calibration of the model's delay reached. */
function calibrated(run: Run): string {
  const reached = new Map<number, number>();
  for (const { experiment, varied, found } of costs(run))
    if (
      experiment === 'model-run' &&
      typeof varied['cycles'] === 'number' &&
      typeof found['reachedCycles'] === 'number'
    )
      reached.set(varied['cycles'], found['reachedCycles']);
  return reached.size === 0
    ? ''
    : `: ${[...reached]
        .sort(([a], [b]) => a - b)
        .map(([asked, cycles]) => `${asked} cycles asked, ${cycles.toFixed(0)} reached`)
        .join('; ')}`;
}

/** One section for each cost experiment that the run has. */
export async function experimentSections(run: Run): Promise<readonly Section[]> {
  const all = costs(run);
  return Promise.all(
    experimentsOf(run).map(async (experiment): Promise<Section> => {
      const cells = all.filter((cost) => cost.experiment === experiment);
      const known = EXPERIMENTS[experiment];
      const title = known?.title ?? experiment;
      const lanes = LANES.filter((lane) => cells.some((cost) => cost.lane === lane));
      const panels = (
        await Promise.all(
          lanes.map((lane) =>
            experimentChart(
              experiment,
              experiment === 'fault'
                ? cells.filter(
                    ({ varied }) =>
                      varied['part'] === undefined ||
                      (varied['part'] === 'whole' && varied['occurrence'] === undefined),
                  )
                : cells,
              lane,
              title,
              all,
            ),
          ),
        )
      ).flat();
      return {
        id: `cost-${experiment}`,
        title,
        body: html`<p>${known?.question ?? ''}</p>
${panels.length > 0 && html`<div class="panels">${panels}</div>`}
${await more(experiment, run)}
<details${panels.length === 0 && html` open`}><summary>The numbers</summary>${lanes.map((lane) => costTable(cells, lane, all))}</details>
${statisticsTable(cells, all)}
${fits(cells)}`,
      };
    }),
  );
}

/** From a raw call to another process: one rung for each way, over the largest image that all have. */
export async function ladderSection(run: Run): Promise<Section | null> {
  const found = ladders(run);
  if (found.length === 0) return null;
  const all = costs(run);
  const panels = await Promise.all(
    found.map(async ({ lane, rungs }) => {
      const unit = rungs[0]?.cost.unit ?? 'ns';
      const name = `Cost ladder, ${lane} lane`;
      const chart = await dotChart({
        name,
        width: 210,
        x: unitAxis(
          rungs.map(({ cost }) => cost),
          unit,
        ),
        rows: rungs.map(({ label, cost }) => ({
          label,
          dots: [
            {
              look: MECHANISM_LOOKS[cost.mechanism],
              x: cost.value,
              text: `${label}: ${describeCost(cost)}`,
              ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }),
            },
          ],
        })),
      });
      return panel(
        lane,
        unit === 'ns' ? 'Time' : 'Executed instructions',
        html`${chart}
          <details>
            <summary>The numbers</summary>
            <div class="scroll" tabindex="0" role="region" aria-label="${name}">
              <table>
                <tbody>
                  ${rungs.map(
                    ({ label, cost }) =>
                      html`<tr>
                        <th scope="row">
                          ${label}${sizeOf(cost) === undefined ? '' : html` <span class="lead">${formatBytes(sizeOf(cost) ?? 0)}</span>`}
                        </th>
                        ${costCell(cost, all)}
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>
          </details>`,
      );
    }),
  );
  return {
    id: 'ladder',
    title: 'Cost ladder',
    body: html`<p>
        From a raw call to a callee in another process: each way of making or guarding one call, over the largest image
        that all of them were measured with. The scale is logarithmic.
      </p>
      <div class="panels">${panels}</div>`,
  };
}

/** An image of this size is drawn, or the one nearest to it, and the largest. */
const USUAL_BYTES = 4 << 20;

/** Rates drawn, callouts a second. */
const RATES = { least: 10, most: 1e7 } as const;

/** Callouts a second against overhead: the cost per callout times the rate. Native times only, and the model apart. */
export async function breakEvenSection(run: Run): Promise<Section | null> {
  const added = addedPerCallout(run).map(({ cost, sizeBytes, ns }) => ({ cost, size: sizeBytes, ns }));
  const sizes = [...new Set(added.map(({ size }) => size))].sort((a, b) => a - b);
  if (sizes.length === 0) return null;
  const usual = [...sizes].sort((a, b) => Math.abs(Math.log(a / USUAL_BYTES)) - Math.abs(Math.log(b / USUAL_BYTES)))[0];
  const shown = sizes.filter((size) => size === usual || size === sizes.at(-1));
  const x: Axis = {
    title: 'callouts a second',
    domain: [RATES.least, RATES.most],
    ticks: [10, 1000, 1e5, 1e7],
    format: formatInstructions,
  };
  const y: Axis = {
    title: 'overhead, % of a processor',
    domain: [0.001, 100],
    ticks: [0.001, 0.01, 0.1, 1, 10, 100],
    format: (value) => `${value} %`,
  };
  const line = (ns: number): readonly { readonly x: number; readonly y: number }[] => {
    const percent = (rate: number): number => (rate * ns) / 1e7;
    const least = Math.max(RATES.least, (y.domain[0] * 1e7) / ns);
    const most = Math.min(RATES.most, (y.domain[1] * 1e7) / ns);
    return least < most
      ? [
          { x: least, y: percent(least) },
          { x: most, y: percent(most) },
        ]
      : [];
  };
  const rules = [{ y: 1, label: '1 %' }];
  const model = keyModel(run);
  const rateFor = (ns: number): string => (rateAt(ns) >= 10 ? formatCount(rateAt(ns)) : rateAt(ns).toPrecision(2));
  const affordable: Markup[] = [];
  if (sizes.length > 1) {
    const rates = added.map(({ ns }) => 1e7 / ns);
    const y1 = logAxis(
      model === null ? rates : [...rates, 1e7 / model.mostNs, 1e7 / model.leastNs],
      'callouts a second at 1 %, log',
      (value) => (value < 1 ? String(value) : formatInstructions(value)),
    );
    const series = MECHANISMS.filter((mechanism) => added.some(({ cost }) => cost.mechanism === mechanism)).map(
      (mechanism): Series => ({
        name: mechanism,
        label: mechanism,
        look: MECHANISM_LOOKS[mechanism],
        points: added
          .filter(({ cost }) => cost.mechanism === mechanism)
          .map(({ size, ns }) => ({
            x: size,
            y: 1e7 / ns,
            text:
              `${mechanism}, image ${formatBytes(size)}: ${rateFor(ns)} callouts a second cost 1 % ` +
              `(${formatNs(ns)} each)`,
          }))
          .sort((a, b) => a.x - b.x),
      }),
    );
    const xs = sizeAxis(sizes);
    affordable.push(
      panel(
        'native',
        'Callouts a second for 1 % overhead',
        await lineChart({
          name: 'Callouts a second that cost 1 %, by image size, native lane',
          ...CHART,
          x: xs,
          y: y1,
          series,
        }),
      ),
    );
    if (model !== null) {
      const text =
        `pkeys, model: ${modelText(model)}; 1 % at ${rateFor(model.mostNs)} to ${rateFor(model.leastNs)} ` +
        'callouts a second';
      affordable.push(
        html`<div class="panel model">
          <h4>The same for keys: a model</h4>
          <p class="lane">not measured: ${modelText(model)}</p>
          ${await lineChart({
            name: `Model, not measured: ${text}`,
            ...CHART,
            width: 130,
            x: { ...xs, ticks: [Math.min(...sizes), Math.max(...sizes)] },
            y: y1,
            series: [],
            bands: [
              {
                label: 'pkeys, model',
                look: MECHANISM_LOOKS['pkeys-model'],
                text,
                points: xs.domain.map((size) => ({ x: size, low: 1e7 / model.mostNs, high: 1e7 / model.leastNs })),
              },
            ],
          })}
        </div>`,
      );
    }
  }
  const panels = await Promise.all(
    shown.map(async (size) => {
      const name = `Overhead by callouts a second, image of ${formatBytes(size)}, native lane`;
      const series = added
        .filter((one) => one.size === size)
        .map(({ cost, ns }): Series => ({
          name: cost.mechanism,
          label: cost.mechanism,
          look: MECHANISM_LOOKS[cost.mechanism],
          points: line(ns).map((point) => ({
            ...point,
            text:
              `${cost.mechanism}, image ${formatBytes(size)}: ${formatNs(ns)} a callout; 1 % at ${rateFor(ns)} ` +
              'callouts a second',
          })),
        }))
        .filter(({ points }) => points.length > 0);
      return panel('native', `Image of ${formatBytes(size)}`, await lineChart({ name, ...CHART, x, y, series, rules }));
    }),
  );
  if (model !== null) {
    const text =
      `pkeys, model: ${modelText(model)}; 1 % at ${rateFor(model.mostNs)} to ${rateFor(model.leastNs)} ` +
      'callouts a second';
    const span: number[] = [];
    for (let power = 1; power <= 7; power += 0.25) span.push(10 ** power);
    const chart = await lineChart({
      name: `Model, not measured: ${text}`,
      ...CHART,
      x,
      y,
      rules,
      series: [],
      bands: [
        {
          label: 'pkeys, model',
          look: MECHANISM_LOOKS['pkeys-model'],
          text,
          points: span.map((rate) => ({
            x: rate,
            low: (rate * model.leastNs) / 1e7,
            high: (rate * model.mostNs) / 1e7,
          })),
        },
      ],
    });
    panels.push(
      html`<div class="panel model">
        <h4>Keys, any image size: a model</h4>
        <p class="lane">not measured: ${modelText(model)}</p>
        ${chart}
      </div>`,
    );
  }
  const mechanisms = MECHANISMS.filter((mechanism) => added.some(({ cost }) => cost.mechanism === mechanism));
  const rates = applicationRates(run, 'applications').filter(({ callouts, callbacks }) => callouts + callbacks > 0);
  return {
    id: 'break-even',
    title: 'How many callouts can one afford?',
    body: html`<p>
        What a mechanism adds to one callout, times the callouts made in a second. Where a line reaches 100 %, a
        processor does nothing
        else.${rates.length > 0 && html` The <a href="#cost-applications">applications</a> of this run cross into foreign code and back so often in a second, unguarded: ${rates.map((rate) => `${rate.application} ${formatCount(rate.calloutsPerSecond + rate.callbacksPerSecond)}`).join('; ')}.`}
      </p>
      <div class="panels">${panels}</div>
      ${
        affordable.length > 0 &&
        html`<h3>By image size</h3>
          <div class="panels">${affordable}</div>`
      }
      <details>
        <summary>Callouts a second at which a mechanism costs 1 %, as a table</summary>
        <div class="scroll" tabindex="0" role="region" aria-label="Callouts a second at one per cent">
          <table>
            <thead>
              <tr>
                <th scope="col">image</th>
                ${mechanisms.map(mechanismHead)}${model !== null && html`<th scope="col" class="n m-model" style="color:var(--m)">pkeys, model</th>`}
              </tr>
            </thead>
            <tbody>
              ${sizes.map(
                (size) =>
                  html`<tr>
                    <th scope="row">${formatBytes(size)}</th>
                    ${mechanisms.map((mechanism) => {
                      const found = added.find((one) => one.size === size && one.cost.mechanism === mechanism);
                      return found === undefined
                        ? html`<td class="n missing">–</td>`
                        : html`<td class="n" title="${describeCost(found.cost)}">${rateFor(found.ns)}</td>`;
                    })}${model !== null && html`<td class="n">${rateFor(model.mostNs)} to ${rateFor(model.leastNs)}</td>`}
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>
      </details>`,
  };
}
