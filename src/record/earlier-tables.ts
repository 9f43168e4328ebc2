/**
 * What cost experiments say now about the rows of their derived tables, for runs recorded before they said so. Frozen:
 * an experiment that came later says it itself.
 */
import type { DerivedTable, ExperimentContext } from './description.js';

const EARLIER_TABLES: Readonly<Record<string, DerivedTable>> = {
  threads: {
    rows: { 'of the others': { what: 'operation of the others' } },
    columns: { work: 'work', threads: 'threads' },
  },
  'lua-threads': { rows: { 'of the others': { otherState: 'busy' } }, columns: { work: 'vm' } },
  fault: {
    rows: {
      whole: { part: 'whole' },
      delivery: { part: 'delivery' },
      gate: { part: 'gate' },
      'whole, first': { part: 'whole', occurrence: 'first' },
      'delivery, first': { part: 'delivery', occurrence: 'first' },
    },
  },
  'fault-javascript': { rows: { first: { occurrence: 'first' } } },
  'image-check': {
    rows: {
      verify: { operation: 'verify' },
      'diff, equal': { operation: 'diff, nothing differs' },
      memcmp: { operation: 'memcmp' },
      'restore one page': { operation: 'restore, one page' },
      'restore all pages': { operation: 'restore, every page' },
      snapshot: { operation: 'snapshot' },
    },
  },
  gate: {
    rows: {
      'raw call': { way: 'raw call', arguments: 0 },
      'raw call, 12 arguments': { way: 'raw call', arguments: 12 },
      'raw call, 6 arguments': { way: 'raw call', arguments: 6 },
      gate: { way: 'guarded', arguments: 0, foreignStack: true },
      "gate, caller's stack": { way: 'guarded', arguments: 0, foreignStack: false },
      'gate, 6 arguments': { way: 'guarded', arguments: 6, foreignStack: true },
      'gate, 6 arguments, floats': { way: 'guarded', arguments: 6, foreignStack: true, floats: true },
      'gate, 12 arguments': { way: 'guarded', arguments: 12, foreignStack: true },
      sigsetjmp: { way: 'sigsetjmp(buf, 0)', arguments: 0 },
      'sigsetjmp, signal mask': { way: 'sigsetjmp(buf, 1)', arguments: 0 },
    },
  },
  'lua-tenants': { rows: { visit: { measured: 'visit' } }, columns: { way: 'way', policy: 'policy' } },
};

/** Experiments of a run, each with its derived table's rows. */
export function withTables(experiments: readonly ExperimentContext[]): readonly ExperimentContext[] {
  return experiments.map((experiment) => {
    const table = EARLIER_TABLES[experiment.name];
    return experiment.measures === undefined || experiment.table !== undefined || table === undefined
      ? experiment
      : { ...experiment, table };
  });
}
