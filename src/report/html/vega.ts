/**
 * Vega and Vega-Lite, which draw the charts. They weigh more than all the rest of the package, so whoever installs it
 * need not have them (package.json, peerDependencies): a report without them says so where each chart would be.
 */

/** What the charts need of the two. */
export interface Drawing {
  readonly vega: typeof import('vega');
  readonly compile: (typeof import('vega-lite'))['compile'];
}

// Vega guesses widths of text without a canvas, too wide for the fonts used here; labels beside lines then leave holes.
interface TextMetrics {
  readonly textMetrics: {
    width: (item: { readonly text?: string | number; readonly fontSize?: number }, text?: string) => number;
  };
}

/** The command that brings them. */
export const CHARTS_NEED = 'npm install vega vega-lite';

async function load(): Promise<Drawing | undefined> {
  try {
    const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
    (vega as unknown as TextMetrics).textMetrics.width = (item, text) =>
      0.56 * String(text ?? item.text ?? '').length * (item.fontSize ?? 11);
    return { vega, compile };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

let loaded: Promise<Drawing | undefined> | undefined;

/** The two packages; undefined where they are not installed. */
export function drawing(): Promise<Drawing | undefined> {
  loaded ??= load();
  return loaded;
}
