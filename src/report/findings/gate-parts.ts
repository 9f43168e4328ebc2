/** What each part of the gate adds to a call: differences of rows of the same rounds. */
import { type Lane, LANES, type Mechanism } from '../../record/words.js';
import { type Basis, isRow, measuring } from './basis.js';
import type { Cost } from './costs.js';
import { left, MISSING, right, type Table, words } from './table.js';

export interface GatePart {
  readonly lane: Lane;
  readonly unit: Cost['unit'];
  readonly part: string;
  readonly value: number;
}

type Figure = number | undefined;

const less = (a: Figure, b: Figure): Figure => (a === undefined || b === undefined ? undefined : a - b);

/** Those parts of the gate that the run has rows for. */
export function gateParts(basis: Basis): readonly GatePart[] {
  const all = measuring(basis, 'gate');
  return LANES.flatMap((lane): readonly GatePart[] => {
    const cells = all.filter((cost) => cost.lane === lane);
    const row = (word: string, mechanism: Mechanism = 'none'): Figure =>
      cells.find((cost) => cost.mechanism === mechanism && isRow(cost, word))?.value;
    const [raw, flag] = [row('raw call'), row('gate', 'flag')];
    const parts: readonly (readonly [string, Figure])[] = [
      ['trap: armed, on a foreign stack, all saved and put back (flag over a raw call)', less(flag, raw)],
      ['of that, the foreign stack', less(flag, row("gate, caller's stack", 'flag'))],
      ['rights down and back (pkeys over flag)', less(row('gate', 'pkeys'), flag)],
      ["the same by glibc's pkey_set beside the gate (pkeys-glibc over flag)", less(row('gate', 'pkeys-glibc'), flag)],
      [
        'floating-point environment, where asked for',
        less(row('gate, 6 arguments, floats', 'flag'), row('gate, 6 arguments', 'flag')),
      ],
      [
        'six arguments on the stack, copied',
        less(
          less(row('gate, 12 arguments', 'flag'), row('gate, 6 arguments', 'flag')),
          less(row('raw call, 12 arguments'), row('raw call, 6 arguments')),
        ),
      ],
      ['for comparison: sigsetjmp(buf, 0)', less(row('sigsetjmp'), raw)],
      ['for comparison: sigsetjmp(buf, 1), with the signal mask', less(row('sigsetjmp, signal mask'), raw)],
    ];
    return parts.flatMap(([part, value]) =>
      value === undefined ? [] : [{ lane, unit: cells[0]?.unit ?? 'ns', part, value }],
    );
  });
}

/** Parts by lanes: times and counts in columns of their own. */
export function gateTable(parts: readonly GatePart[]): Table {
  const lanes = LANES.filter((lane) => parts.some((part) => part.lane === lane));
  return {
    id: 'gate-parts',
    title: 'What the parts of the gate add',
    columns: [left('part'), ...lanes.map((lane) => right(`${lane} lane`))],
    rows: [...new Set(parts.map(({ part }) => part))].map((part) => ({
      cells: [
        words(part),
        ...lanes.map((lane) => {
          const entry = parts.find((candidate) => candidate.part === part && candidate.lane === lane);
          return entry === undefined ? MISSING : ({ kind: 'figure', value: entry.value, unit: entry.unit } as const);
        }),
      ],
    })),
    notes: [
      "Differences of rows of the same rounds; a difference below what the machine's noise allows may come " +
        'out below zero.',
    ],
  };
}
