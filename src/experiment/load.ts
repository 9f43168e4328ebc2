/**
 * Importing an experiment's file. The bundle of a trial holds all of them and has another version of this module, which
 * scripts/bundle.mjs writes.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { BUILT, inProject } from '../record/paths.js';

/** `path`: without its ending, relative to the folder of the built experiments. */
export function importExperiment(path: string): Promise<unknown> {
  return import(pathToFileURL(join(inProject(BUILT.experiments), `${path}.js`)).href);
}
