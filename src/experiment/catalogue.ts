/**
 * The experiments that there are: the files of experiments/. A case's name is its file's name.
 */
import { readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { CorruptionCase, CostExperiment, ExperimentModule, HonestCase } from './case.js';
import { ExperimentError } from '../record/errors.js';
import { BUILT, inProject } from '../record/paths.js';

export type Family = 'corruption' | 'honest' | 'cost';

/** An experiment by name. */
export interface Named<T> {
  readonly name: string;
  readonly experiment: T;
}

export interface Catalogue {
  readonly corruption: readonly Named<CorruptionCase>[];
  readonly honest: readonly Named<HonestCase>[];
  readonly cost: readonly Named<CostExperiment>[];
}

function isExperiment(value: unknown, family: Family): value is ExperimentModule {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === family && 'summary' in value;
}

/** Built files of a family without their endings, relative to its folder: cases lie in the folders of their groups. */
function pathsIn(family: Family): readonly string[] {
  const folder = join(inProject(BUILT.experiments), family);
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory() ? readdirSync(join(folder, entry.name)).map((file) => `${entry.name}/${file}`) : [entry.name],
    )
    .filter((path) => path.endsWith('.js'))
    .map((path) => path.slice(0, -'.js'.length));
}

/** The names in one family, sorted. */
export function namesIn(family: Family): readonly string[] {
  return pathsIn(family)
    .map((path) => posix.basename(path))
    .sort();
}

/** Spelled out so that a bundler finds the files, and the bundle of a trial holds them (scripts/bundle.mjs). */
const importOf: Readonly<Record<Family, (path: string) => Promise<unknown>>> = {
  corruption: (path) => import(`../../experiments/corruption/${path}.js`),
  honest: (path) => import(`../../experiments/honest/${path}.js`),
  cost: (path) => import(`../../experiments/cost/${path}.js`),
};

async function load(family: Family, name: string): Promise<ExperimentModule> {
  const path = pathsIn(family).find((candidate) => posix.basename(candidate) === name);
  if (path === undefined) {
    throw new ExperimentError(`there is no ${family} experiment '${name}'; turnkey list shows those there are`);
  }
  const module = (await importOf[family](path)) as { experiment?: unknown };
  if (!isExperiment(module.experiment, family)) {
    throw new ExperimentError(`experiments/${family}/${path}.ts does not export an \`experiment\` of kind '${family}'`);
  }
  return module.experiment;
}

/** @throws ExperimentError if there is none of that name */
export async function loadCorruption(name: string): Promise<CorruptionCase> {
  return (await load('corruption', name)) as CorruptionCase;
}

/** @throws ExperimentError if there is none of that name */
export async function loadHonest(name: string): Promise<HonestCase> {
  return (await load('honest', name)) as HonestCase;
}

/** @throws ExperimentError if there is none of that name */
export async function loadCost(name: string): Promise<CostExperiment> {
  return (await load('cost', name)) as CostExperiment;
}

/** All of them. */
export async function loadCatalogue(): Promise<Catalogue> {
  const all = async <T extends ExperimentModule>(family: Family): Promise<readonly Named<T>[]> =>
    Promise.all(namesIn(family).map(async (name) => ({ name, experiment: (await load(family, name)) as T })));
  return { corruption: await all('corruption'), honest: await all('honest'), cost: await all('cost') };
}
