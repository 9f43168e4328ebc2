/**
 * What does one VM thread pay for another's callouts?
 *
 * Two Lua states run on two threads, with an image each. One state allocates. The other makes callouts that sleep for a
 * millisecond, one after the other, or is not there. mprotect closes the heap for everybody. So the allocating thread
 * faults as a bystander, and waits until the other is back. Keys are each thread's own.
 * Varies: mechanism, whether the other state is there. Records: ns of 2,000 allocations, the mean over a second or so;
 * `observed`: the bystanders' faults, how long they waited, unprotected windows, callouts of the other. Native lane
 * only: the counted guest has one processor and skips time that is slept. That nobody waits under keys is behaviour,
 * and recorded where there are keys by the case lua-bystander.
 */
import { type CostExperiment, LUA_MISSING, luaIsBuilt } from '../../src/experiment/index.js';
import { luaCommand } from '../support/lua.js';

const MECHANISMS = ['none', 'flag', 'mprotect-range', 'pkeys'] as const;
const NOT_COUNTED =
  'the counted guest has one processor and skips time that is slept; who waits for whom is recorded by the ' +
  'case lua-bystander';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'two Lua states on two threads, one allocating, one in callouts',
  title: 'Two Lua states on two threads',
  question: 'What does one thread pay for the callouts of another?',
  order: 140,
  shows: 'rows',
  parameters: { vm: { role: 'row', alone: true }, otherState: { role: 'row' } },
  measures: 'bystanders',
  table: {
    rows: { 'of the others': { otherState: 'busy' } },
    columns: { work: 'vm' },
    observed: { faults: 'bystanderFaults', waited: 'bystanderWaitedNs', 'unprotected windows': 'unprotectedWindows' },
  },
  rows({ quick, lane }) {
    if (quick) return [];
    if (lane === 'emulated')
      return (['mprotect-range', 'pkeys'] as const).map((mechanism) => ({
        mechanism,
        parameters: {},
        skip: NOT_COUNTED,
      }));
    return MECHANISMS.flatMap((mechanism) =>
      ['idle', 'busy'].map((other) => ({
        mechanism,
        parameters: { vm: 'Lua 5.4', otherState: other },
        together: 'threads',
        ...(luaIsBuilt() ? {} : { skip: LUA_MISSING }),
      })),
    );
  },
  command: ({ mechanism, parameters }) => luaCommand(mechanism, 'threads.lua', [String(parameters['otherState']), '1']),
};
