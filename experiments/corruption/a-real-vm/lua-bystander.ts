/**
 * Does one thread's callout make another VM thread wait, in a real VM with its real allocator?
 *
 * Stands for a VM with several interpreter threads, or a collector's own. There is no bug at all: work goes on while
 * another thread is in foreign code. Two Lua states run on two threads, with an image each (programs/bystander.lua).
 * One allocates, the other sleeps in callouts of a millisecond, one after the other. mprotect closes both heaps to
 * everybody. The allocating thread faults, as a bystander, and waits until the other is back. Keys are each thread's
 * own. The first step of the aftermath holds every mechanism to that. A single bystander fault under keys, or none
 * under mprotect, fails it, and the row is a surprise.
 * Varies: mechanism, what the callout loses. Records: in the answer, bystander faults, how long they waited,
 * unprotected windows, callouts of the other state and rounds of allocation meanwhile. What it costs is lua-threads.
 */
import { luaTrial } from '../../support/lua.js';

export const experiment = luaTrial({
  script: 'bystander.lua',
  words: [],
  summary: 'a Lua state that allocates while another one, on another thread, is in callouts',
  expected: ({ mechanism }) => ({
    verdicts: ['harmless'],
    why: mechanism.startsWith('mprotect')
      ? 'the allocating state faults as a bystander, waits, and goes on'
      : 'nothing is closed to a thread that is in no callout',
  }),
});
