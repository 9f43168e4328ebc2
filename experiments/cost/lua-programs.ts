/**
 * What does protecting a real VM's whole heap cost ordinary programs?
 *
 * Eight Lua programs (experiments/vm/lua/programs/bench.lua) run in the Lua host: allocation, strings, numbers,
 * callbacks, checksums by a C library, and callouts at about 10, 10,000 and 1,000,000 a second. The row `none` is the
 * same host, its allocator and its stack included, calling straight through libffi: what the others are set beside.
 * Each sample is a whole run of the program after a full collection. Every mechanism's run must come to the same
 * answer. Lua seeds its strings' hashes by the time of day: where strings are made, two processes' counts differ by
 * some tenths of a percent.
 * Varies: program, mechanism. Records: one run, in ns (native) or instructions of the whole machine (counted guest;
 * `unit` says which share of a run: fewer callouts, with as much work between two of them); callouts in it.
 */
import { type CostExperiment, LUA_MECHANISMS, LUA_MISSING, luaIsBuilt } from '../../src/experiment/index.js';
import { luaCommand } from '../support/lua.js';

/**
 * The programs, and how much of each is counted, in percent. Some ten million instructions or more are counted, so that
 * the timer's interrupts are a small part of them.
 */
const PROGRAMS: Readonly<Record<string, number>> = {
  'binary-trees': 25,
  strings: 10,
  'spectral-norm': 100,
  'callouts-10': 100,
  'callouts-10000': 10,
  'callouts-1000000': 10,
  callbacks: 100,
  checksums: 100,
};
/**
 * A system call for each page of the heap, twice a callout: minutes at the other programs' rates, and nobody's choice.
 */
const BEARABLE: readonly string[] = ['binary-trees', 'strings', 'spectral-norm', 'callouts-10', 'callouts-10000'];
/** One callout after so much work that a second run, or one before the first sample, would take too long to count. */
const LONG = 'callouts-10';

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: "ordinary Lua programs with the VM's whole heap protected",
  title: 'Lua programs behind each mechanism',
  question:
    'What does protecting the heap of a real VM cost its programs? One row is a run of one of them; counted ' +
    'is a share of some, with as much work between two callouts.',
  order: 130,
  shows: 'ratios',
  parameters: { vm: { role: 'row', alone: true }, program: { role: 'row', alone: true } },
  wholeWork: true,
  rows: ({ quick, lane }) =>
    quick
      ? []
      : Object.entries(PROGRAMS).flatMap(([program, percent]) =>
          LUA_MECHANISMS.filter((mechanism) => mechanism !== 'mprotect-page' || BEARABLE.includes(program)).map(
            (mechanism) => ({
              mechanism,
              parameters: { vm: 'Lua 5.4', program },
              about: { unit: lane === 'native' || percent === 100 ? 'a whole run' : `${percent} % of a run` },
              ...(luaIsBuilt() ? {} : { skip: LUA_MISSING }),
            }),
          ),
        ),
  command({ mechanism, parameters }, { lane }) {
    const program = String(parameters['program']);
    const share = String((PROGRAMS[program] ?? 100) / 100);
    return luaCommand(mechanism, 'bench.lua', [
      program,
      ...(lane === 'native' ? ['7', '1', '1'] : program === LONG ? ['1', share, '0'] : ['2', share, '2']),
    ]);
  },
};
