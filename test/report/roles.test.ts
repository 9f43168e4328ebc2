/**
 * A derived table knows no name of an experiment: which parameter is what, the experiment says. The recorded runs give
 * the same tables when all that was varied, found and observed has another name, and so has each value with a meaning.
 *
 * Broken once: the choices' table reads the parameter `work` by that name, and its test fails. The formula knows
 * `stripes` and `lru` by these names: the test of virtual keys fails.
 */
import { join } from 'node:path';

import t from 'tap';

import { loadCatalogue } from '../../src/experiment/catalogue.js';
import type { DerivedTable, ExperimentContext } from '../../src/record/description.js';
import { inProject } from '../../src/record/paths.js';
import type { CostRecord, Run, Values } from '../../src/record/records.js';
import { readRun } from '../../src/record/store.js';
import { aftermathTable } from '../../src/report/findings/aftermath.js';
import { type Basis, basisOf } from '../../src/report/findings/basis.js';
import { addedPerCallout } from '../../src/report/findings/break-even.js';
import { suffered, sufferedTable } from '../../src/report/findings/bystanders.js';
import { choicesFound, choicesTable } from '../../src/report/findings/choices.js';
import { faultTable, faultTimelines } from '../../src/report/findings/fault-parts.js';
import { gateParts, gateTable } from '../../src/report/findings/gate-parts.js';
import { koffiKeys, koffiTable } from '../../src/report/findings/koffi-keys.js';
import { modelSteps, modelTable } from '../../src/report/findings/model-run.js';
import { applicationRates, ratesTable } from '../../src/report/findings/rates.js';
import type { Table } from '../../src/report/findings/table.js';
import { tenantsTable } from '../../src/report/findings/tenants.js';
import { breakEvenOfVirtual, threadsOfVirtual, virtualFormulaTable } from '../../src/report/findings/virtual-keys.js';
import { ORDERS, REPLACEMENTS } from '../../src/report/findings/virtual-keys-formula.js';

const other = (name: string): string => `${name}_`;
const otherKeys = <T>(values: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [other(name), value]));
const otherValues = (words: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(words).map(([word, name]) => [word, other(name)]));

/** The values that mean something to a table, under other names; of a table or of a record. */
function otherMeanings(values: Values, { columns = {}, meanings = {} }: DerivedTable = {}): Values {
  const meant = new Set(Object.keys(meanings).map((word) => columns[word]));
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, meant.has(name) ? other(String(value)) : value]),
  );
}

function otherTable(table: DerivedTable): DerivedTable {
  const { rows = {}, columns, meanings = {}, numbers = {}, found, observed } = table;
  return {
    rows: Object.fromEntries(
      Object.entries(rows).map(([word, values]) => [word, otherKeys(otherMeanings(values, table))]),
    ),
    columns: otherValues(columns),
    meanings: Object.fromEntries(Object.entries(meanings).map(([word, values]) => [word, otherKeys(values)])),
    numbers,
    found: otherValues(found),
    observed: otherValues(observed),
  };
}

/** The same run, had its experiments called everything otherwise. */
function renamed(run: Run): Run {
  const experiments = run.context.experiments.map((experiment): ExperimentContext => ({
    ...experiment,
    parameters: otherKeys(experiment.parameters),
    ...(experiment.table === undefined ? {} : { table: otherTable(experiment.table) }),
  }));
  const tableOf = (name: string): DerivedTable | undefined =>
    run.context.experiments.find((experiment) => experiment.name === name)?.table;
  const cost = (record: CostRecord): CostRecord => ({
    ...record,
    varied: otherKeys(otherMeanings(record.varied, tableOf(record.experiment))),
    found: otherKeys(record.found),
    ...(record.observed === undefined ? {} : { observed: otherKeys(record.observed) }),
  });
  return {
    ...run,
    context: { ...run.context, experiments },
    records: run.records.map((record) => (record.kind === 'cost' ? cost(record) : record)),
  };
}

const bystanders = (basis: Basis): readonly Table[] =>
  ['threads', 'lua-threads'].map((experiment) => sufferedTable(basis, experiment, suffered(basis)));

const MADE: Readonly<Record<string, (basis: Basis) => readonly Table[]>> = {
  rates: (basis) => [ratesTable(basis, applicationRates(basis))],
  choices: (basis) => choicesTable(basis, choicesFound(basis)),
  'koffi-keys': (basis) => [koffiTable(koffiKeys(basis))],
  'model-run': (basis) => [modelTable(modelSteps(basis))],
  'fault-parts': (basis) => [faultTable(faultTimelines(basis))],
  'gate-parts': (basis) => [gateTable(gateParts(basis))],
  bystanders,
  aftermath: (basis) => [aftermathTable(basis)],
  tenants: tenantsTable,
  'virtual-keys': (basis) => [breakEvenOfVirtual(basis), threadsOfVirtual(basis), virtualFormulaTable(basis)],
};

/** Figures and words of a table, under the names of before; sentences about a single cell name its parameters. */
const content = ({ title, rows, notes }: Table): unknown =>
  JSON.parse(
    JSON.stringify({
      title,
      notes,
      rows: rows.map(({ cells }) => cells.map((cell) => ({ ...cell, detail: undefined }))),
    }).replaceAll('_"', '"'),
  );

/** Their tables take every row, by mechanism and size alone. */
const UNNAMED = new Set(['callout']);

/** The run that has each table's rows. */
const RUNS: Readonly<Record<string, readonly string[]>> = {
  reference: ['rates', 'koffi-keys', 'model-run', 'fault-parts', 'gate-parts', 'bystanders', 'aftermath'],
  'reference-virtual': ['virtual-keys', 'tenants'],
  'reference-alternatives': ['choices'],
};

for (const [name, tables] of Object.entries(RUNS)) {
  const run = readRun(inProject(join('results', name)));
  const [told, called] = [basisOf(run), basisOf(renamed(run))];
  for (const table of tables)
    t.test(`${table}: the same under other names of parameters`, (t) => {
      const made = MADE[table]?.(told) ?? [];
      t.ok(made.length > 0 && made.every(({ rows }) => rows.length > 0), 'has rows');
      t.strictSame(MADE[table]?.(called).map(content), made.map(content));
      t.end();
    });
  t.same(
    addedPerCallout(called).map(({ sizeBytes, ns }) => [sizeBytes, ns]),
    addedPerCallout(told).map(({ sizeBytes, ns }) => [sizeBytes, ns]),
    `${name}: what a callout of each size adds`,
  );
}

t.test("a table's rows and columns are made of parameters that the experiment describes", async (t) => {
  for (const { name, experiment } of (await loadCatalogue()).cost) {
    const { rows = {}, columns = {}, meanings = {} } = experiment.table ?? {};
    const used = [...Object.values(columns), ...Object.values(rows).flatMap((values) => Object.keys(values))];
    for (const parameter of new Set(used)) t.ok(parameter in experiment.parameters, `${name}: ${parameter}`);
    for (const word of Object.keys(meanings)) t.ok(word in columns, `${name}: a meaning of ${word}`);
    if (experiment.measures !== undefined && !UNNAMED.has(name)) t.ok(experiment.table, `${name} has a table`);
  }
});

t.test('what virtual keys mean by each policy and order is what the formula knows', async (t) => {
  const { cost } = await loadCatalogue();
  const meanings = cost.find(({ name }) => name === 'virtual-keys')?.experiment.table?.meanings ?? {};
  for (const [word, known] of [
    ['policy', REPLACEMENTS],
    ['order', ORDERS],
  ] as const)
    t.strictSame(new Set(Object.values(meanings[word] ?? {})), new Set<string>(known), word);
});

t.test('a policy or order that means nothing known, or a number that is missing, is an error', (t) => {
  const run = readRun(inProject(join('results', 'reference-virtual')));
  const withTable = (change: (table: DerivedTable) => DerivedTable): Basis =>
    basisOf({
      ...run,
      context: {
        ...run.context,
        experiments: run.context.experiments.map((experiment): ExperimentContext =>
          experiment.name === 'virtual-keys' && experiment.table !== undefined
            ? { ...experiment, table: change(experiment.table) }
            : experiment,
        ),
      },
    });
  const misspelt = (word: string, known: readonly string[]): Basis =>
    withTable((table) => ({
      ...table,
      meanings: {
        ...table.meanings,
        [word]: Object.fromEntries(Object.keys(table.meanings?.[word] ?? {}).map((value) => [value, `${known[0]}?`])),
      },
    }));
  t.throws(() => virtualFormulaTable(misspelt('policy', REPLACEMENTS)), /^virtual-keys: policy '.+' means '.+\?'/u);
  t.throws(() => virtualFormulaTable(misspelt('order', ORDERS)), /^virtual-keys: order '.+' means '.+\?'/u);
  t.throws(
    () => virtualFormulaTable(withTable((table) => ({ ...table, meanings: {} }))),
    /^virtual-keys: .+ means nothing; it must be one of:/u,
  );
  t.throws(
    () => virtualFormulaTable(withTable((table) => ({ ...table, numbers: {} }))),
    /^virtual-keys: its table has no number/u,
  );
  t.end();
});
