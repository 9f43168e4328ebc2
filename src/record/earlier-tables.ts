/**
 * What cost experiments say now about the rows of their derived tables, for runs recorded before they said so. Frozen:
 * an experiment that came later says it itself.
 */
import type { DerivedTable, ExperimentContext } from './description.js';

const BYSTANDERS = {
  faults: 'bystanderFaults',
  waited: 'bystanderWaitedNs',
  'unprotected windows': 'unprotectedWindows',
};

const EARLIER_TABLES: Readonly<Record<string, DerivedTable>> = {
  threads: {
    rows: { 'of the others': { what: 'operation of the others' } },
    columns: { work: 'work', threads: 'threads' },
    observed: BYSTANDERS,
  },
  'lua-threads': { rows: { 'of the others': { otherState: 'busy' } }, columns: { work: 'vm' }, observed: BYSTANDERS },
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
  'lua-tenants': {
    rows: { visit: { measured: 'visit' } },
    columns: { way: 'way', policy: 'policy' },
    observed: {
      operations: 'operations',
      misses: 'misses',
      stray: 'stray',
      landed: 'landed',
      start: 'startedNs',
      'memory of each': 'memoryPerTenant',
    },
  },
  applications: {
    columns: { application: 'application' },
    found: { unit: 'unit', callouts: 'callouts', callbacks: 'callbacks', reads: 'reads' },
  },
  'model-run': {
    columns: { application: 'application', cycles: 'cycles' },
    found: { 'reached cycles': 'reachedCycles' },
  },
  'callout-koffi': { columns: { signature: 'signature' }, found: { callbacks: 'callbacks' } },
  'alternatives-work': {
    columns: { work: 'work', choice: 'choice' },
    found: {
      'null write': 'null write',
      abort: 'abort',
      'heap write': 'heap write',
      'image write': 'image write',
    },
  },
  'virtual-keys': {
    columns: {
      images: 'images',
      order: 'order',
      policy: 'policy',
      keys: 'ways',
      pages: 'pages',
      'huge pages': 'huge',
      threads: 'threads',
    },
    meanings: {
      policy: {
        lru: 'least recent',
        clock: 'least recent',
        random: 'random',
        'nth-miss': 'every nth miss',
        stripes: 'none',
      },
      order: { 'round-robin': 'in turn', zipf: 'Zipf', sequential: 'in turn, several visits each' },
    },
    numbers: { 'nth miss': 8, 'visits in sequence': 8 },
    rows: {
      'only hits': {
        images: 2,
        order: 'round-robin',
        policy: 'lru',
        huge: false,
        pages: 1,
        threads: 1,
        keys: 'virtual',
        ways: 12,
      },
      'only misses': {
        images: 2,
        order: 'round-robin',
        policy: 'lru',
        huge: false,
        pages: 1,
        threads: 1,
        keys: 'virtual',
        ways: 1,
      },
      'many images': { keys: 'virtual', pages: 1, ways: 12, threads: 1 },
      'one mprotect pair': { keys: 'none', images: 16, pages: 1, threads: 1 },
      'a miss each time': { keys: 'virtual', images: 2, ways: 1, threads: 1 },
      'an mprotect pair each time': { keys: 'none', images: 2, ways: 1, threads: 1 },
      'several threads': { keys: 'virtual', images: 64, order: 'zipf', pages: 1 },
      'several threads, mprotect': { keys: 'none', images: 64, order: 'zipf', pages: 1 },
    },
    observed: {
      operations: 'operations',
      misses: 'misses',
      evictions: 'evictions',
      waits: 'waits',
      shootdowns: 'shootdowns',
    },
  },
};

/** A table that says rows alone is an earlier one too: what was found had no words of its own then. */
const isEarlier = ({ table }: ExperimentContext): boolean =>
  table === undefined || (table.found === undefined && table.observed === undefined);

/** Experiments of a run, each with its derived table's words. */
export function withTables(experiments: readonly ExperimentContext[]): readonly ExperimentContext[] {
  return experiments.map((experiment) => {
    const table = EARLIER_TABLES[experiment.name];
    return experiment.measures === undefined || table === undefined || !isEarlier(experiment)
      ? experiment
      : { ...experiment, table: { ...table, ...experiment.table } };
  });
}
