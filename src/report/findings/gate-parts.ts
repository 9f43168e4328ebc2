/** What each part of the gate adds to a call: differences of rows of the same rounds. */
import { type Lane, LANES, type Mechanism } from '../../record/words.js';
import { type Basis, measuring } from './basis.js';
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
    const way = (name: string, count = 0): Figure =>
      cells.find(({ varied }) => varied['way'] === name && varied['arguments'] === count)?.value;
    const gate = (mechanism: Mechanism, count: number, foreignStack: boolean, floats?: true): Figure =>
      cells.find(
        (cost) =>
          cost.mechanism === mechanism &&
          cost.varied['way'] === 'guarded' &&
          cost.varied['arguments'] === count &&
          cost.varied['foreignStack'] === foreignStack &&
          cost.varied['floats'] === floats,
      )?.value;
    const raw = (count: number): Figure => way('raw call', count);
    const flag = gate('flag', 0, true);
    const parts: readonly (readonly [string, Figure])[] = [
      ['trap: armed, on a foreign stack, all saved and put back (flag over a raw call)', less(flag, raw(0))],
      ['of that, the foreign stack', less(flag, gate('flag', 0, false))],
      ['rights down and back (pkeys over flag)', less(gate('pkeys', 0, true), flag)],
      [
        "the same by glibc's pkey_set beside the gate (pkeys-glibc over flag)",
        less(gate('pkeys-glibc', 0, true), flag),
      ],
      ['floating-point environment, where asked for', less(gate('flag', 6, true, true), gate('flag', 6, true))],
      [
        'six arguments on the stack, copied',
        less(less(gate('flag', 12, true), gate('flag', 6, true)), less(raw(12), raw(6))),
      ],
      ['for comparison: sigsetjmp(buf, 0)', less(way('sigsetjmp(buf, 0)'), raw(0))],
      ['for comparison: sigsetjmp(buf, 1), with the signal mask', less(way('sigsetjmp(buf, 1)'), raw(0))],
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
