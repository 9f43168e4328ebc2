/**
 * A thousand Lua states: one process with an image for each, one key for all, or a process each?
 *
 * 1,000 states of the distribution's Lua, each with its heap in an image of its own (experiments/vm/lua/tenants.c).
 * Requests go to them by Zipf's law; each runs Lua code and makes one callout. Before that, tenant 0's own native code
 * stores once into every other tenant's heap: `landed` says how many of the `stray` stores arrived. Under virtual keys
 * none may, whoever is resident. Under one key for all (`shared`) tenant 0's code needs that key, and all arrive.
 * Varies: mechanism, way, policy, what is measured (a request; one tenant's start). Records: ns (native) or
 * instructions (counted guest); `observed`: nanoseconds or instructions for the start of all, memory of a tenant in
 * bytes, misses, stray stores and how many landed.
 */
import { existsSync } from 'node:fs';

import {
  type CostExperiment,
  type CostRow,
  inProject,
  LUA_HOST,
  LUA_MISSING,
  type Mechanism,
} from '../../src/experiment/index.js';

const PROGRAM = `${LUA_HOST}-tenants`;
const TENANTS = 1000;
const OPERATIONS = { native: 20_000, emulated: 4000 } as const;

const WAYS: readonly (readonly [Mechanism, string, string])[] = [
  ['none', 'none', ''],
  ['pkeys', 'virtual', 'lru'],
  ['pkeys', 'virtual', 'nth-miss'],
  ['pkeys', 'virtual', 'stripes'],
  ['pkeys', 'shared', ''],
  ['mprotect-range', 'mprotect', ''],
  ['process', 'process', ''],
];

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: '1,000 Lua states in one process, an image each',
  title: 'A thousand Lua states',
  question: 'What does a tenant cost with an image of its own, with one key for all, and with a process of its own?',
  order: 97,
  shows: 'rows',
  parameters: {
    measured: { role: 'row', alone: true },
    way: { role: 'row', alone: true, free: true },
    policy: { role: 'row', alone: true, free: true },
  },
  measures: 'tenants',
  table: {
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
  rows: ({ quick }) =>
    quick
      ? []
      : ['visit', 'start'].flatMap((measured) =>
          WAYS.map(([mechanism, way, policy]): CostRow => ({
            mechanism,
            parameters: { measured, way, ...(policy === '' ? {} : { policy }) },
            together: measured,
            ...(existsSync(inProject(PROGRAM)) ? {} : { skip: LUA_MISSING }),
          })),
        ),
  command({ parameters: { measured, way, policy } }, { lane }) {
    return [
      PROGRAM,
      String(way),
      String(TENANTS),
      String(OPERATIONS[lane]),
      String(measured),
      ...(policy === undefined ? [] : [String(policy)]),
    ];
  },
};
