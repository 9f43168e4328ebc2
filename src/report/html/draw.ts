/** Draws specifications of Vega-Lite. */
import type { TopLevelSpec } from 'vega-lite';

import { escape, trusted } from './markup.js';
import type { Drawing } from './svg.js';
import { CHARTS_NEED, packages } from './vega.js';

/** What stands where a chart would be. */
function notDrawn(name: string): Drawing {
  const [width, height] = [420, 40];
  const attributes =
    `xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 ${width} ${height}" width="${width}" ` +
    `height="${height}" role="img" aria-label="${escape(name)}"`;
  const words = `Not drawn: vega and vega-lite are not installed (${CHARTS_NEED}).`;
  const text = `<text x="0" y="24" fill="currentColor" font-size="12">${words}</text>`;
  return { svg: trusted(`<svg ${attributes}>${text}</svg>`), width, height };
}

/** Draws a specification. `name`: the chart's accessible name. */
export async function draw(spec: object, name: string): Promise<Drawing> {
  const loaded = await packages();
  if (loaded === undefined) return notDrawn(name);
  const { vega, compile } = loaded;
  const { spec: compiled } = compile(spec as TopLevelSpec, { logger: vega.logger(vega.Error) });
  const view = new vega.View(
    vega.parse({ ...compiled, encode: { ...compiled.encode, enter: { description: { value: name } } } }),
    { renderer: 'none' },
  );
  const drawing = (await view.toSVG()) as unknown as Drawing;
  view.finalize();
  return drawing;
}
