/**
 * What does the gate add to a call, against a raw call and against what a VM would write without one, and what do its
 * parts cost?
 *
 * The calls are made in C. Each result goes into the next call, as in code that uses it. Each row has a process of its
 * own, so no two rows share a call site. The parts are differences between rows of one round:
 *
 *   trap                         `flag` over the raw call
 *   rights                       `pkeys` over `flag`
 *   foreign stack                a row with it over a row without
 *   floating-point environment   a row with it over a row without
 *   stack arguments              12 arguments over 6
 *
 * native/bench/gate.c; docs/gate.md says what each instruction is for.
 * Varies: mechanism, way (raw call, guarded, sigsetjmp with and without the signal mask), arguments (0, 6, 12), foreign
 * stack or the caller's. Records: samples of one call, in ns (native) or instructions (counted guest).
 */
import type { CostExperiment, CostParameters, CostRow, Mechanism } from '../../src/experiment/index.js';

function row(mechanism: Mechanism, way: string, option: string, args: number, more: CostParameters = {}): CostRow {
  return {
    mechanism,
    parameters: { way, arguments: args, ...more },
    options: { way: option, arguments: args, ...more },
    together: `${args} arguments`,
    rung: way === 'guarded' ? `guarded call in C, ${mechanism}` : `${way} in C`,
  };
}

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'what the gate adds to one call, in C',
  title: 'The call gate',
  question: 'What do the parts of the gate cost, without any language binding?',
  order: 100,
  shows: 'rows',
  parameters: {
    way: { role: 'row', alone: true, free: true, baseline: 'raw call' },
    arguments: { role: 'row', unit: 'count', usual: 0 },
    foreignStack: {
      role: 'row',
      words: { yes: 'foreign stack', no: "caller's stack" },
      usual: true,
      free: true,
    },
    floats: { role: 'row', free: true },
  },
  measures: 'gate',
  table: {
    rows: {
      'raw call': { way: 'raw call', arguments: 0 },
      'raw call, 6 arguments': { way: 'raw call', arguments: 6 },
      'raw call, 12 arguments': { way: 'raw call', arguments: 12 },
      gate: { way: 'guarded', arguments: 0, foreignStack: true },
      "gate, caller's stack": { way: 'guarded', arguments: 0, foreignStack: false },
      'gate, 6 arguments': { way: 'guarded', arguments: 6, foreignStack: true },
      'gate, 6 arguments, floats': { way: 'guarded', arguments: 6, foreignStack: true, floats: true },
      'gate, 12 arguments': { way: 'guarded', arguments: 12, foreignStack: true },
      sigsetjmp: { way: 'sigsetjmp(buf, 0)', arguments: 0 },
      'sigsetjmp, signal mask': { way: 'sigsetjmp(buf, 1)', arguments: 0 },
    },
  },
  bench: 'gate',
  rows: ({ quick }) =>
    quick
      ? []
      : [0, 6, 12].flatMap((args): readonly CostRow[] => [
          row('none', 'raw call', 'raw', args),
          row('none', 'sigsetjmp(buf, 0)', 'sigsetjmp0', args),
          row('none', 'sigsetjmp(buf, 1)', 'sigsetjmp1', args),
          ...[true, false].flatMap((foreignStack) =>
            (['flag', 'pkeys-glibc', 'pkeys'] as const).map((mechanism) =>
              row(mechanism, 'guarded', 'gate', args, { foreignStack }),
            ),
          ),
          ...(args === 6
            ? (['flag', 'pkeys'] as const).map((mechanism) =>
                row(mechanism, 'guarded', 'gate', args, { foreignStack: true, floats: true }),
              )
            : []),
        ]),
};
