/**
 * Vega and Vega-Lite, which draw the charts. They weigh more than all the rest of the package, so an installation need
 * not have them (package.json, peerDependencies). A report without them says so where each chart would be.
 */
import { registerRenderer } from './svg.js';

/** What the charts need of the two. */
export interface Packages {
  readonly vega: typeof import('vega');
  readonly compile: (typeof import('vega-lite'))['compile'];
}

/** The command that brings them. */
export const CHARTS_NEED = 'npm install vega vega-lite';

async function load(): Promise<Packages | undefined> {
  try {
    const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
    registerRenderer(vega);
    return { vega, compile };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

let loaded: Promise<Packages | undefined> | undefined;

/** The two packages; undefined where they are not installed. */
export function packages(): Promise<Packages | undefined> {
  loaded ??= load();
  return loaded;
}
