/** The cost sections: for each experiment a chart for each lane, and a table that says the same; the ladder; the break-even. */
import { linearRegression, linearRegressionLine, rSquared } from 'simple-statistics';
import { formatBytes, formatCount, formatNs } from '../format.js';
import type { Run } from '../../experiment/records.js';
import { LANES, MECHANISMS, type Lane, type Mechanism } from '../../experiment/words.js';
import { dotChart, lineChart, logAxis, type Axis, type Dot, type Series } from './charts.js';
import { costs, describeCost, keyModel, plainest, protectingExperiment, sizeOf, valueOf, variantOf, type Cost } from './figures.js';
import { html, type Content, type Markup } from './markup.js';
import { formatInstructions, formatTickNs, modelText, seriesBySize, sizeAxis } from './picture.js';
import { EXPERIMENT_ORDER, EXPERIMENTS, LANE_MEANINGS, MECHANISM_LOOKS } from './words.js';

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
  return html`<div class="panel${lane === 'model' && ' model'}"><h4>${title}</h4><p class="lane">${lane} lane: ${LANE_MEANINGS[lane] ?? ''}</p>${chart}</div>`;
}

function unitAxis(cells: readonly { readonly value: number }[], unit: Cost['unit'], what = ''): Axis {
  const title = `${what}${unit === 'ns' ? 'time' : 'instructions'}, log`;
  return logAxis(cells.map(({ value }) => value), title, unit === 'ns' ? formatTickNs : formatInstructions);
}

const mechanismHead = (mechanism: Mechanism): Markup => html`<th scope="col" class="n m-${MECHANISM_LOOKS[mechanism].ink}" style="color:var(--m)">${mechanism}</th>`;

/** One cost in a table's cell: the value, its interval and events on hover and for screen readers. */
function costCell(cost: Cost | undefined, beside: Content = ''): Markup {
  return cost === undefined ? html`<td class="n missing">–</td>` : html`<td class="n" title="${describeCost(cost)}">${valueOf(cost, cost.value)}${beside}</td>`;
}

/** All cells of an experiment in one lane: variations by mechanisms. `relative` adds the ratio to `none` of the same variation. */
function costTable(cells: readonly Cost[], lane: Lane, relative: boolean): Markup {
  const here = cells.filter((cost) => cost.lane === lane);
  const mechanisms = MECHANISMS.filter((mechanism) => here.some((cost) => cost.mechanism === mechanism));
  const names = [...new Set(here.flatMap((cost) => Object.keys(cost.varied)))];
  const order = (a: Cost, b: Cost): number => {
    for (const name of names) {
      const [one, other] = [a.varied[name], b.varied[name]];
      if (one === other) continue;
      return typeof one === 'number' && typeof other === 'number' ? one - other : String(one) < String(other) ? -1 : 1;
    }
    return 0;
  };
  const rows = new Map<string, Cost[]>();
  for (const cost of [...here].sort(order)) {
    const key = JSON.stringify(names.map((name) => cost.varied[name] ?? null));
    rows.set(key, [...rows.get(key) ?? [], cost]);
  }
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table, ${lane} lane"><table><caption>${lane} lane: ${LANE_MEANINGS[lane] ?? ''}</caption>
<thead><tr>${names.map((name) => html`<th scope="col">${name.replace(/Bytes$/, '').replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`)}</th>`)}${mechanisms.map(mechanismHead)}</tr></thead>
<tbody>${[...rows.values()].map((row) => {
    const base = row.find((cost) => cost.mechanism === 'none');
    return html`<tr>${names.map((name) => {
      const value = row[0]?.varied[name];
      return html`<td>${value === undefined ? '' : typeof value === 'boolean' ? (value ? 'yes' : 'no') : typeof value === 'number' ? (name.endsWith('Bytes') ? formatBytes(value) : formatCount(value)) : value}</td>`;
    })}${mechanisms.map((mechanism) => {
      const cost = row.find((one) => one.mechanism === mechanism);
      const ratio = relative && cost !== undefined && base !== undefined && cost !== base ? cost.value / base.value : undefined;
      return costCell(cost, ratio !== undefined && html` <span class="lead">×${ratio >= 10 ? formatCount(ratio) : ratio.toFixed(2)}</span>`);
    })}</tr>`;
  })}</tbody></table></div>`;
}

/** Parameters that make an x axis, best first: the first with more than one value in the cells. */
const X_PARAMETERS = ['imageBytes', 'pages', 'touchedPages', 'revisitedPages', 'threads', 'chunkBytes', 'spaces', 'cycles', 'calloutsPerSecond'] as const;

function xParameter(cells: readonly Cost[]): string | undefined {
  return X_PARAMETERS.find((name) => {
    const values = cells.map((cost) => cost.varied[name]).filter((value) => typeof value === 'number');
    return values.length === cells.length && new Set(values).size > 1;
  });
}

/** Experiments whose question is how much slower something gets. */
const RELATIVE: ReadonlySet<string> = new Set(['applications', 'threads', 'model-run', 'revisit']);

/** Ratios around and above 1. */
function ratioAxis(ratios: readonly number[]): Axis {
  const low = Math.min(0.95, ...ratios) * 0.98;
  const high = Math.max(1.5, ...ratios) * 1.05;
  const ticks = [0.1, 0.5, 1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000, 10_000].filter((tick) => tick >= low && tick <= high);
  return { title: 'times as long, log', domain: [low, high], ticks, format: (value) => `×${value < 10 ? value : formatCount(value)}` };
}

/** Lines where something is varied in steps, dots otherwise. */
async function experimentChart(cells: readonly Cost[], lane: Lane, name: string, relative: boolean): Promise<readonly Markup[]> {
  const here = cells.filter((cost) => cost.lane === lane && cost.value > 0);
  const unit = here[0]?.unit;
  if (unit === undefined) return [];
  const x = xParameter(here);
  if (x !== undefined) {
    const variants = [...new Set(here.map((cost) => variantOf(cost, [x, 'pages'])))];
    const axis = (list: readonly number[]): Axis => {
      if (x.endsWith('Bytes')) return { ...sizeAxis(list), title: x === 'imageBytes' ? 'image size' : x.replace(/Bytes$/, '') };
      const sorted = [...new Set(list)].sort((a, b) => a - b);
      const step = Math.ceil(sorted.length / 6);
      return { title: x.replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`), domain: [sorted[0] ?? 1, sorted.at(-1) ?? 2], ticks: sorted.filter((_, at) => at % step === 0), format: formatCount };
    };
    const positive = here.every((cost) => Number(cost.varied[x]) > 0);
    if (positive && variants.length <= 6) {
      const y = unitAxis(here, unit);
      return Promise.all(variants.map(async (variant) => {
        const group = here.filter((cost) => variantOf(cost, [x, 'pages']) === variant);
        const series: readonly Series[] = seriesBySize(group.map((cost) => ({ ...cost, varied: { ...cost.varied, imageBytes: Number(cost.varied[x]) } })))
          .map((one) => ({ ...one, points: group.filter((cost) => cost.mechanism === one.name).map((cost) => ({
            x: Number(cost.varied[x]), y: cost.value, text: describeCost(cost), ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }),
          })).sort((a, b) => a.x - b.x) }));
        const title = variant === '' ? (unit === 'ns' ? 'Time' : 'Executed instructions') : variant;
        return panel(lane, title, await lineChart({ name: `${name}, ${title}, ${lane} lane`, ...CHART, x: axis(here.map((cost) => Number(cost.varied[x]))), y, series }));
      }));
    }
  }
  if (relative) {
    const base = new Map(here.filter((cost) => cost.mechanism === 'none').map((cost) => [variantOf(cost, ['pages']), cost.value]));
    const slowed = here.flatMap((cost) => {
      const none = base.get(variantOf(cost, ['pages']));
      return none === undefined || cost.mechanism === 'none' ? [] : [{ cost, label: variantOf(cost, ['pages']), ratio: cost.value / none, none }];
    });
    if (slowed.length > 0 && base.size <= MOST_ROWS) {
      return [panel(lane, 'Times the unguarded work', await dotChart({
        name: `${name}, slowdown, ${lane} lane`, width: 210, x: ratioAxis(slowed.map(({ ratio }) => ratio)), reference: 1,
        rows: [...base.keys()].map((label) => ({
          label, dots: slowed.filter((one) => one.label === label).map(({ cost, ratio, none }): Dot => ({
            look: MECHANISM_LOOKS[cost.mechanism], x: ratio, text: `${ratio.toFixed(ratio < 10 ? 3 : 0)} times as long as unguarded: ${describeCost(cost)}`,
            ...(cost.interval === null ? {} : { low: cost.interval.low / none, high: cost.interval.high / none }),
          })),
        })),
      }))];
    }
  }
  const rows = new Map<string, Dot[]>();
  for (const cost of here) {
    const label = variantOf(cost, ['pages']) || cost.mechanism;
    const dot: Dot = { look: MECHANISM_LOOKS[cost.mechanism], x: cost.value, text: describeCost(cost), ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }) };
    rows.set(label, [...rows.get(label) ?? [], dot]);
  }
  if (rows.size > MOST_ROWS) return [];
  return [panel(lane, unit === 'ns' ? 'Time' : 'Executed instructions', await dotChart({
    name: `${name}, ${lane} lane`, width: 210, rows: [...rows].map(([label, dots]) => ({ label, dots })), x: unitAxis(here, unit),
  }))];
}

/** The mechanisms of charts, by colour, dash and shape. */
export function mechanismKey(mechanisms: readonly Mechanism[]): Markup {
  return html`<ul class="key" aria-label="Mechanisms">${MECHANISMS.filter((mechanism) => mechanisms.includes(mechanism)).map((mechanism) =>
    html`<li class="m-${MECHANISM_LOOKS[mechanism].ink}"><b>${mechanism}</b> ${MECHANISM_LOOKS[mechanism].meaning}</li>`)}</ul>`;
}

/** A straight line through costs by pages: what a page adds, and what there is without any. */
function fits(cells: readonly Cost[]): Markup | null {
  const groups = new Map<string, Cost[]>();
  for (const cost of cells) {
    if (sizeOf(cost) === undefined) continue;
    const key = JSON.stringify([cost.lane, cost.mechanism, variantOf(cost)]);
    groups.set(key, [...groups.get(key) ?? [], cost]);
  }
  const rows = [...groups.values()].filter((group) => new Set(group.map(sizeOf)).size >= 4).map((group) => {
    const points = group.map((cost): [number, number] => [(sizeOf(cost) ?? 0) / 4096, cost.value]);
    const { m, b } = linearRegression(points);
    const constant = new Set(points.map(([, y]) => y)).size === 1;
    const first = group[0] as Cost;
    return html`<tr><td>${first.lane}</td><th scope="row">${first.mechanism}</th><td>${variantOf(first)}</td><td class="n">${valueOf(first, b)}</td><td class="n">${first.unit === 'ns' ? (Math.abs(m) < 0.005 ? '0 ns' : formatNs(m)) : Math.abs(m) < 0.0005 ? '0 instr.' : Math.abs(m) < 10 ? `${m.toFixed(3)} instr.` : valueOf(first, m)}</td><td class="n">${constant ? 'constant' : rSquared(points, linearRegressionLine({ m, b })).toFixed(4)}</td></tr>`;
  });
  if (rows.length === 0) return null;
  return html`<h3>Straight lines through it</h3><p class="lead">Least squares over 4 KiB pages. A slope of zero is what “keys are flat” means.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Fits"><table><thead><tr><th scope="col">lane</th><th scope="col">mechanism</th><th scope="col">variation</th><th scope="col" class="n">intercept</th><th scope="col" class="n">per page</th><th scope="col" class="n">r²</th></tr></thead><tbody>${rows}</tbody></table></div>`;
}

/** One section for each cost experiment that the run has. */
export async function experimentSections(run: Run): Promise<readonly Section[]> {
  const all = costs(run);
  const present = [...new Set(all.map((cost) => cost.experiment))];
  const ordered = [...EXPERIMENT_ORDER.filter((name) => present.includes(name)), ...present.filter((name) => !EXPERIMENT_ORDER.includes(name))];
  return Promise.all(ordered.map(async (experiment): Promise<Section> => {
    const cells = all.filter((cost) => cost.experiment === experiment);
    const known = EXPERIMENTS[experiment];
    const title = known?.title ?? experiment;
    const lanes = LANES.filter((lane) => cells.some((cost) => cost.lane === lane));
    const panels = (await Promise.all(lanes.map((lane) => experimentChart(cells, lane, title, RELATIVE.has(experiment))))).flat();
    return {
      id: `cost-${experiment}`, title,
      body: html`<p>${known?.question ?? ''}</p>
${panels.length > 0 && html`<div class="panels">${panels}</div>`}
<details${panels.length === 0 && html` open`}><summary>The numbers</summary>${lanes.map((lane) => costTable(cells, lane, RELATIVE.has(experiment)))}</details>
${fits(cells)}`,
    };
  }));
}

/** From a raw call to another process: one rung for each way, the largest image. */
export async function ladderSection(run: Run): Promise<Section | null> {
  const all = costs(run);
  const ways = new Set(['gate', 'alternatives']);
  const of = (experiment: string): readonly Cost[] => all.filter((cost) => cost.experiment === experiment && cost.value > 0);
  const words = (cost: Cost): string => JSON.stringify(Object.entries(cost.varied).filter(([, value]) => typeof value === 'string'));
  const rungs = ['gate', 'callout', 'fault', 'alternatives', 'flip'].flatMap((experiment) => (ways.has(experiment)
    ? [...new Set(of(experiment).map(words))].flatMap((variant) => plainest(of(experiment).filter((cost) => words(cost) === variant))) : plainest(of(experiment))));
  const panels: Markup[] = [];
  for (const lane of ['native', 'emulated'] as const) {
    const largest = new Map<string, Cost>();
    for (const cost of rungs.filter((one) => one.lane === lane)) {
      const way = ['way', 'call', 'variant', 'signature', 'name'].map((name) => cost.varied[name]).find((value) => typeof value === 'string');
      const verb = cost.experiment === 'flip' ? 'close and open' : cost.experiment === 'fault' ? 'failed callout' : cost.experiment === 'alternatives' ? '' : cost.experiment;
      const label = [verb, way ?? '', cost.mechanism === 'process' && way !== undefined ? '' : cost.mechanism].filter((part) => part !== '').join(', ');
      const known = largest.get(label);
      if (known === undefined || (sizeOf(cost) ?? 0) > (sizeOf(known) ?? 0)) largest.set(label, cost);
    }
    const list = [...largest].sort(([, a], [, b]) => a.value - b.value).slice(0, MOST_ROWS);
    const unit = list[0]?.[1].unit;
    if (unit === undefined || list.length < 2) continue;
    const name = `Cost ladder, ${lane} lane`;
    const chart = await dotChart({
      name, width: 210, x: unitAxis(list.map(([, cost]) => cost), unit),
      rows: list.map(([label, cost]) => ({ label, dots: [{ look: MECHANISM_LOOKS[cost.mechanism], x: cost.value, text: `${label}: ${describeCost(cost)}`, ...(cost.interval === null ? {} : { low: cost.interval.low, high: cost.interval.high }) }] })),
    });
    panels.push(html`${panel(lane, unit === 'ns' ? 'Time' : 'Executed instructions', html`${chart}<details><summary>The numbers</summary><div class="scroll" tabindex="0" role="region" aria-label="${name}"><table><tbody>${list.map(([label, cost]) =>
      html`<tr><th scope="row">${label}${sizeOf(cost) === undefined ? '' : html` <span class="lead">${formatBytes(sizeOf(cost) ?? 0)}</span>`}</th>${costCell(cost)}</tr>`)}</tbody></table></div></details>`)}`);
  }
  if (panels.length === 0) return null;
  return { id: 'ladder', title: 'Cost ladder', body: html`<p>From the raw call up, each way of making or guarding one call, over the largest image measured. The scale is logarithmic.</p><div class="panels">${panels}</div>` };
}

/** An image of this size is drawn, or the one nearest to it, and the largest. */
const USUAL_BYTES = 4 << 20;

/** Rates drawn, callouts a second. */
const RATES = { least: 10, most: 1e7 } as const;

/** Callouts a second against overhead: the cost per callout times the rate. Native times only, and the model apart. */
export async function breakEvenSection(run: Run): Promise<Section | null> {
  const all = costs(run);
  const experiment = protectingExperiment(all);
  const cells = plainest(all.filter((cost) => cost.experiment === experiment && cost.lane === 'native' && sizeOf(cost) !== undefined));
  const base = (size: number): number => cells.find((cost) => cost.mechanism === 'none' && sizeOf(cost) === size)?.value ?? 0;
  const added = cells.filter((cost) => cost.mechanism !== 'none').map((cost) => ({ cost, size: sizeOf(cost) ?? 0, ns: cost.value - base(sizeOf(cost) ?? 0) })).filter(({ ns }) => ns > 0);
  const sizes = [...new Set(added.map(({ size }) => size))].sort((a, b) => a - b);
  if (sizes.length === 0) return null;
  const usual = [...sizes].sort((a, b) => Math.abs(Math.log(a / USUAL_BYTES)) - Math.abs(Math.log(b / USUAL_BYTES)))[0];
  const shown = sizes.filter((size) => size === usual || size === sizes.at(-1));
  const x: Axis = { title: 'callouts a second', domain: [RATES.least, RATES.most], ticks: [10, 1000, 1e5, 1e7], format: formatInstructions };
  const y: Axis = { title: 'overhead, % of a processor', domain: [0.001, 100], ticks: [0.001, 0.01, 0.1, 1, 10, 100], format: (value) => `${value} %` };
  const line = (ns: number): readonly { readonly x: number; readonly y: number }[] => {
    const percent = (rate: number): number => rate * ns / 1e7;
    const least = Math.max(RATES.least, y.domain[0] * 1e7 / ns);
    const most = Math.min(RATES.most, y.domain[1] * 1e7 / ns);
    return least < most ? [{ x: least, y: percent(least) }, { x: most, y: percent(most) }] : [];
  };
  const rules = [{ y: 1, label: '1 %' }];
  const model = keyModel(run);
  const rateFor = (ns: number): string => (1e7 / ns >= 10 ? formatCount(1e7 / ns) : (1e7 / ns).toPrecision(2));
  const affordable: Markup[] = [];
  if (sizes.length > 1) {
    const rates = added.map(({ ns }) => 1e7 / ns);
    const y1 = logAxis(model === null ? rates : [...rates, 1e7 / model.mostNs, 1e7 / model.leastNs], 'callouts a second at 1 %, log', (value) => (value < 1 ? String(value) : formatInstructions(value)));
    const series = MECHANISMS.filter((mechanism) => added.some(({ cost }) => cost.mechanism === mechanism)).map((mechanism): Series => ({
      name: mechanism, label: mechanism, look: MECHANISM_LOOKS[mechanism],
      points: added.filter(({ cost }) => cost.mechanism === mechanism).map(({ size, ns }) => ({ x: size, y: 1e7 / ns, text: `${mechanism}, image ${formatBytes(size)}: ${rateFor(ns)} callouts a second cost 1 % (${formatNs(ns)} each)` })).sort((a, b) => a.x - b.x),
    }));
    const xs = sizeAxis(sizes);
    affordable.push(panel('native', 'Callouts a second for 1 % overhead', await lineChart({ name: 'Callouts a second that cost 1 %, by image size, native lane', ...CHART, x: xs, y: y1, series })));
    if (model !== null) {
      const text = `pkeys, model: ${modelText(model)}; 1 % at ${rateFor(model.mostNs)} to ${rateFor(model.leastNs)} callouts a second`;
      affordable.push(html`<div class="panel model"><h4>The same for keys: a model</h4><p class="lane">not measured: ${modelText(model)}</p>${await lineChart({
        name: `Model, not measured: ${text}`, ...CHART, width: 130, x: { ...xs, ticks: [...xs.domain] }, y: y1, series: [],
        bands: [{ label: 'pkeys, model', look: MECHANISM_LOOKS['pkeys-model'], text, points: xs.domain.map((size) => ({ x: size, low: 1e7 / model.mostNs, high: 1e7 / model.leastNs })) }],
      })}</div>`);
    }
  }
  const panels = await Promise.all(shown.map(async (size) => {
    const name = `Overhead by callouts a second, image of ${formatBytes(size)}, native lane`;
    const series = added.filter((one) => one.size === size).map(({ cost, ns }): Series => ({
      name: cost.mechanism, label: cost.mechanism, look: MECHANISM_LOOKS[cost.mechanism],
      points: line(ns).map((point) => ({ ...point, text: `${cost.mechanism}, image ${formatBytes(size)}: ${formatNs(ns)} a callout; 1 % at ${rateFor(ns)} callouts a second` })),
    })).filter(({ points }) => points.length > 0);
    return panel('native', `Image of ${formatBytes(size)}`, await lineChart({ name, ...CHART, x, y, series, rules }));
  }));
  if (model !== null) {
    const text = `pkeys, model: ${modelText(model)}; 1 % at ${rateFor(model.mostNs)} to ${rateFor(model.leastNs)} callouts a second`;
    const span: number[] = [];
    for (let power = 1; power <= 7; power += 0.25) span.push(10 ** power);
    const chart = await lineChart({
      name: `Model, not measured: ${text}`, ...CHART, x, y, rules, series: [],
      bands: [{ label: 'pkeys, model', look: MECHANISM_LOOKS['pkeys-model'], text, points: span.map((rate) => ({ x: rate, low: rate * model.leastNs / 1e7, high: rate * model.mostNs / 1e7 })) }],
    });
    panels.push(html`<div class="panel model"><h4>Keys, any image size: a model</h4><p class="lane">not measured: ${modelText(model)}</p>${chart}</div>`);
  }
  const mechanisms = MECHANISMS.filter((mechanism) => added.some(({ cost }) => cost.mechanism === mechanism));
  return {
    id: 'break-even', title: 'How many callouts can one afford?',
    body: html`<p>What a mechanism adds to one callout, times the callouts made in a second. Where a line reaches 100 %, a processor does nothing else.</p>
<div class="panels">${panels}</div>
${affordable.length > 0 && html`<h3>By image size</h3><div class="panels">${affordable}</div>`}
<details><summary>Callouts a second at which a mechanism costs 1 %, as a table</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Callouts a second at one per cent"><table><thead><tr><th scope="col">image</th>${mechanisms.map(mechanismHead)}${model !== null && html`<th scope="col" class="n m-model" style="color:var(--m)">pkeys, model</th>`}</tr></thead><tbody>${sizes.map((size) => html`<tr><th scope="row">${formatBytes(size)}</th>${mechanisms.map((mechanism) => {
      const found = added.find((one) => one.size === size && one.cost.mechanism === mechanism);
      return found === undefined ? html`<td class="n missing">–</td>` : html`<td class="n" title="${describeCost(found.cost)}">${rateFor(found.ns)}</td>`;
    })}${model !== null && html`<td class="n">${rateFor(model.mostNs)} to ${rateFor(model.leastNs)}</td>`}</tr>`)}</tbody></table></div></details>`,
  };
}
