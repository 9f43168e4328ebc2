/**
 * The experiments that there are: the files of experiments/. An experiment's name is its file's name, and a corruption
 * case's group is its folder.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import type { ExperimentContext } from '../record/description.js';
import { ExperimentError } from '../record/errors.js';
import { BUILT, inProject } from '../record/paths.js';
import { CASE_GROUPS, type CaseGroup, groupFolder } from '../record/words.js';
import type { CorruptionCase, CostExperiment, ExperimentModule, GroupedCase, HonestCase } from './case.js';
import { importExperiment } from './load.js';

export type Family = 'corruption' | 'honest' | 'cost';

/** An experiment by name. */
export interface Named<T> {
  readonly name: string;
  readonly experiment: T;
}

export interface Catalogue {
  readonly corruption: readonly Named<GroupedCase>[];
  readonly honest: readonly Named<HonestCase>[];
  readonly cost: readonly Named<CostExperiment>[];
}

function isExperiment(value: unknown, family: Family): value is ExperimentModule {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === family && 'summary' in value;
}

interface Place {
  /** The built file without its ending, relative to the folder of all experiments. */
  readonly path: string;
  /** Group of a corruption case. */
  readonly group?: CaseGroup;
}

const filesIn = (folder: string): readonly string[] =>
  readdirSync(join(inProject(BUILT.experiments), folder))
    .filter((file) => file.endsWith('.js'))
    .map((file) => file.slice(0, -'.js'.length));

function read(family: Family): ReadonlyMap<string, Place> {
  const places: readonly (readonly [string, Place])[] =
    family === 'corruption'
      ? CASE_GROUPS.flatMap((group) => {
          const folder = `${family}/${groupFolder(group)}`;
          return filesIn(folder).map((name) => [name, { path: `${folder}/${name}`, group }] as const);
        })
      : filesIn(family).map((name) => [name, { path: `${family}/${name}` }] as const);
  return new Map([...places].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const known = new Map<Family, ReadonlyMap<string, Place>>();

/** The experiments of one family by name, sorted. */
function placesIn(family: Family): ReadonlyMap<string, Place> {
  const places = known.get(family) ?? read(family);
  known.set(family, places);
  return places;
}

/** The names in one family, sorted. */
export function namesIn(family: Family): readonly string[] {
  return [...placesIn(family).keys()];
}

async function load(family: Family, name: string): Promise<ExperimentModule | GroupedCase> {
  const place = placesIn(family).get(name);
  if (place === undefined)
    throw new ExperimentError(`there is no ${family} experiment '${name}'; turnkey list shows those there are`);
  const { path, group } = place;
  const module = (await importExperiment(path)) as { experiment?: unknown };
  if (!isExperiment(module.experiment, family))
    throw new ExperimentError(`experiments/${path}.ts does not export an \`experiment\` of kind '${family}'`);
  return group === undefined ? module.experiment : { ...(module.experiment as CorruptionCase), group };
}

/** @throws ExperimentError if there is none of that name */
export async function loadCorruption(name: string): Promise<GroupedCase> {
  return (await load('corruption', name)) as GroupedCase;
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

/** A cost experiment in its own words, for a run's context. */
export function describeCost({ name, experiment }: Named<CostExperiment>): ExperimentContext {
  const { title, question, order, shows, parameters, wholeWork, headline, measures, table } = experiment;
  return {
    name,
    title,
    question,
    order,
    shows,
    parameters,
    ...(wholeWork === undefined ? {} : { wholeWork }),
    ...(headline === undefined ? {} : { headline }),
    ...(measures === undefined ? {} : { measures }),
    ...(table === undefined ? {} : { table }),
  };
}
