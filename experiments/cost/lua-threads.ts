/**
 * What does one VM thread pay for another's callouts?
 *
 * Two Lua states on two threads, an image each: one allocates, the other sleeps in callouts of a millisecond, one after the other, or is not there. mprotect closes the heap for everybody: the allocating thread faults, as a
 * bystander, and waits until the other is back. Keys are each thread's own.
 * Varies: mechanism, whether the other state is there. Records: ns of 2,000 allocations, the mean over a second or so; the bystanders' faults and how long they waited, as a warning.
 */
import type { CostExperiment } from '../../src/experiment/case.js';
import { LUA_MISSING, luaIsBuilt, runLua } from '../../src/vm/lua.js';

interface Answer { readonly samples: readonly number[]; readonly bystanderFaults: number; readonly bystanderWaitedNs: number }

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'two Lua states on two threads, one allocating, one in callouts',
  rows: ({ quick }) => (quick ? [] : (['none', 'flag', 'mprotect-range', 'pkeys'] as const).flatMap((mechanism) => ['idle', 'busy'].map((other) => (
    { mechanism, parameters: { vm: 'Lua 5.4', otherState: other }, together: 'threads', ...(luaIsBuilt() ? {} : { skip: LUA_MISSING }) })))),
  measure({ row, quick }) {
    const { samples, bystanderFaults, bystanderWaitedNs } = runLua<Answer>(row.mechanism, 'threads.lua', [String(row.parameters['otherState']), quick ? '0.2' : '1']);
    return { samples, repeats: 1, ...(bystanderFaults === 0 ? {} : { warnings: [`${bystanderFaults} bystander faults, which waited ${Math.round(bystanderWaitedNs / 1e6)} ms in all`] }) };
  },
};
