/** What people pick instead of a guard: what each piece of work costs by it, beside what its caller survives. */
import { type Basis, columnOfRow, foundOf, measuring } from './basis.js';
import { costCell } from './cost-tables.js';
import type { Cost } from './costs.js';
import { type Cell, left, MISSING, right, type Table, type Tone, words } from './table.js';

/** One choice, by one mechanism: its costs by the name of the work, and what came of its caller by the harm done. */
export interface ChoiceFound {
  readonly choice: string;
  readonly mechanism: Cost['mechanism'];
  readonly costs: ReadonlyMap<string, Cost>;
  /** More than one outcome where the pieces of work saw different ones. */
  readonly outcomes: ReadonlyMap<string, readonly string[]>;
}

const choiceOf = (cost: Cost): string => String(columnOfRow(cost, 'choice'));

/** The choices in the order in which they were measured. All that the table says is found came of the caller. */
export function choicesFound(basis: Basis): readonly ChoiceFound[] {
  const rows = new Map<string, Cost[]>();
  for (const cost of measuring(basis, 'choices')) {
    const key = `${choiceOf(cost)} ${cost.mechanism}`;
    rows.set(key, [...(rows.get(key) ?? []), cost]);
  }
  return [...rows.values()].map((costs): ChoiceFound => {
    const outcomes = new Map<string, string[]>();
    for (const cost of costs)
      for (const harm of Object.keys(cost.experiment.table?.found ?? {})) {
        const before = outcomes.get(harm) ?? [];
        const outcome = foundOf(cost, harm);
        if (typeof outcome !== 'string' || before.includes(outcome)) continue;
        outcomes.set(harm, [...before, outcome]);
      }
    const [first] = costs;
    return {
      choice: first === undefined ? '' : choiceOf(first),
      mechanism: first?.mechanism ?? 'none',
      costs: new Map(costs.map((cost) => [String(columnOfRow(cost, 'work')), cost])),
      outcomes,
    };
  });
}

const isBad = (outcome: string): boolean => outcome === 'damaged' || outcome.startsWith('dies');

function outcomeCell(outcomes: readonly string[] | undefined): Cell {
  if (outcomes === undefined) return MISSING;
  const tone: Tone = outcomes.some(isBad) ? 'bad' : 'good';
  return words(outcomes.join(' or '), tone);
}

/** Costs and outcomes, a row for each choice; none where nothing came of a caller. */
export function choicesTable({ ratios }: Basis, choices: readonly ChoiceFound[]): readonly Table[] {
  const works = [...new Set(choices.flatMap(({ costs }) => [...costs.keys()]))];
  const harms = [...new Set(choices.flatMap(({ outcomes }) => [...outcomes.keys()]))];
  if (harms.length === 0) return [];
  return [
    {
      id: 'choices',
      title: 'What each choice costs, and what its caller survives',
      columns: [
        left('choice'),
        left('mechanism'),
        ...works.map((work) => right(work)),
        ...harms.map((harm) => left(`callee's ${harm}`)),
      ],
      rows: choices.map(({ choice, mechanism, costs, outcomes }) => ({
        cells: [
          words(choice),
          words(mechanism),
          ...works.map((work) => costCell(costs.get(work), ratios)),
          ...harms.map((harm) => outcomeCell(outcomes.get(harm))),
        ],
      })),
      notes: [
        "error: the caller was told, and its memory is intact; CalloutError: Turnkey's. unharmed: the callee cannot " +
          "reach the caller's memory. damaged: the caller goes on with 8 wrong bytes, in its malloc heap (heap " +
          "write) or in an image that a guard closes (image write). dies: the caller's process ends. × is how many " +
          'times plain koffi takes.',
      ],
      lane: 'native',
      terminal: 12,
    },
  ];
}
