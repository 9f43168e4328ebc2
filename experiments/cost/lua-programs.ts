/**
 * What does protecting a real VM's whole heap cost ordinary programs?
 *
 * Eight Lua programs (experiments/vm/lua/programs/bench.lua) in the Lua host: allocation, strings, numbers, callouts at about 10, 10,000 and 1,000,000 a second, callbacks, and checksums by a C library. The row `none`
 * is the same host, its allocator and its stack included, calling straight through libffi: what the others are set beside. Each sample is a whole run of the program after a full collection.
 * Varies: program, mechanism. Records: ns of one run; nothing is counted, so there is no row for keys where the CPU has none.
 */
import type { CostExperiment } from '../../src/experiment/case.js';
import { LUA_MECHANISMS, LUA_MISSING, luaIsBuilt, runLua } from '../../src/vm/lua.js';

const PROGRAMS = ['binary-trees', 'strings', 'spectral-norm', 'callouts-10', 'callouts-10000', 'callouts-1000000', 'callbacks', 'checksums'] as const;
/** A system call for each page of the heap, twice a callout: minutes at these rates, and nobody's choice. */
const RARE: readonly string[] = ['binary-trees', 'strings', 'spectral-norm', 'callouts-10'];

interface Answer { readonly samples: readonly number[] }

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'ordinary Lua programs with the VM\'s whole heap protected',
  rows: ({ quick }) => (quick ? [] : PROGRAMS.flatMap((program) => LUA_MECHANISMS
    .filter((mechanism) => mechanism !== 'mprotect-page' || RARE.includes(program))
    .map((mechanism) => ({ mechanism, parameters: { vm: 'Lua 5.4', program }, ...(luaIsBuilt() ? {} : { skip: LUA_MISSING }) })))),
  measure({ row, quick }) {
    const { samples } = runLua<Answer>(row.mechanism, 'bench.lua', [String(row.parameters['program']), quick ? '2' : '7', quick ? '0.1' : '1']);
    return { samples, repeats: 1 };
  },
};
