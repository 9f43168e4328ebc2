/**
 * The experiments that there are: the files of experiments/. A case's name is its file's name.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CorruptionCase, CostExperiment, ExperimentModule, HonestCase } from './case.js';
import { ExperimentError } from './errors.js';
import { BUILT, inProject } from './paths.js';

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

/** The names in one family, sorted. */
export function namesIn(family: Family): readonly string[] {
  return readdirSync(join(inProject(BUILT.experiments), family))
    .filter((file) => file.endsWith('.js'))
    .map((file) => file.slice(0, -3))
    .sort();
}

/** Spelled out so that a bundler finds the files, and the bundle of a trial holds them (scripts/bundle.mjs). */
const importOf: Readonly<Record<Family, (name: string) => Promise<unknown>>> = {
  corruption: (name) => import(`../../experiments/corruption/${name}.js`),
  honest: (name) => import(`../../experiments/honest/${name}.js`),
  cost: (name) => import(`../../experiments/cost/${name}.js`),
};

async function load(family: Family, name: string): Promise<ExperimentModule> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name) || !namesIn(family).includes(name)) {
    throw new ExperimentError(`there is no ${family} experiment '${name}'; turnkey list shows those there are`);
  }
  const module = (await importOf[family](name)) as { experiment?: unknown };
  if (!isExperiment(module.experiment, family)) {
    throw new ExperimentError(`experiments/${family}/${name}.ts does not export an \`experiment\` of kind '${family}'`);
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
