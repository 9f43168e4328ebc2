/** Where the time of a failed callout goes. */
import { type Lane, LANES, type Mechanism } from '../../record/words.js';
import { type Basis, isRow, measuring } from './basis.js';
import { type Cost, sizeOf } from './costs.js';
import { left, MISSING, right, type Table, words } from './table.js';

/** The parts, in the order of time. */
export const FAULT_PARTS = [
  'gate and mechanism',
  'kernel: delivery and return',
  'handler and recovery',
  'JavaScript: koffi and CalloutError',
] as const;

export interface FaultTimeline {
  readonly lane: Lane;
  readonly unit: Cost['unit'];
  readonly mechanism: Mechanism;
  /** 'first' in its process, or one of many. */
  readonly occurrence: 'first' | 'later';
  readonly parts: readonly { readonly name: (typeof FAULT_PARTS)[number]; readonly value: number }[];
  readonly whole: number;
}

/** The parts are differences of rows measured in the same rounds; one that comes out below zero is shown as zero. */
export function faultTimelines(basis: Basis): readonly FaultTimeline[] {
  const faults = measuring(basis, 'fault');
  const caught = measuring(basis, 'caught fault');
  /** The row over the smallest image. */
  const find = (lane: Lane, mechanism: Mechanism, part: string, first: boolean): number | undefined =>
    faults
      .filter(
        (cost) => cost.lane === lane && cost.mechanism === mechanism && isRow(cost, first ? `${part}, first` : part),
      )
      .sort((a, b) => (sizeOf(a) ?? 0) - (sizeOf(b) ?? 0))[0]?.value;
  const timeline = (lane: Lane, mechanism: Mechanism, first: boolean): readonly FaultTimeline[] => {
    const [whole, delivery] = [find(lane, mechanism, 'whole', first), find(lane, mechanism, 'delivery', first)];
    const gate = find(lane, mechanism, 'gate', false);
    if (whole === undefined || delivery === undefined || gate === undefined) return [];
    const inJavaScript = caught.find(
      (cost) => cost.lane === lane && cost.mechanism === mechanism && isRow(cost, 'first') === first,
    );
    const values = [
      gate,
      delivery,
      Math.max(0, whole - delivery - gate),
      ...(inJavaScript === undefined ? [] : [Math.max(0, inJavaScript.value - whole)]),
    ];
    return [
      {
        lane,
        unit: lane === 'emulated' ? 'instructions' : 'ns',
        mechanism,
        occurrence: first ? 'first' : 'later',
        parts: FAULT_PARTS.flatMap((name, at) => {
          const value = values[at];
          return value === undefined ? [] : [{ name, value }];
        }),
        whole: values.reduce((sum, value) => sum + value, 0),
      },
    ];
  };
  const mechanisms = [...new Set(faults.map(({ mechanism }) => mechanism))];
  return LANES.flatMap((lane) =>
    mechanisms.flatMap((mechanism) => [...timeline(lane, mechanism, false), ...timeline(lane, mechanism, true)]),
  );
}

/** One row for each mechanism and occurrence. */
export function faultTable(timelines: readonly FaultTimeline[]): Table {
  const names = FAULT_PARTS.filter((name) => timelines.some(({ parts }) => parts.some((part) => part.name === name)));
  return {
    id: 'fault-parts',
    title: 'From the bad store to the caught error: parts of one failed callout',
    columns: [left('lane'), left('mechanism'), left('fault'), ...names.map((name) => right(name))],
    rows: timelines.map(({ lane, unit, mechanism, occurrence, parts }) => ({
      cells: [
        words(lane),
        words(mechanism),
        words(occurrence === 'first' ? 'the first of its process' : 'a later one'),
        ...names.map((name) => {
          const part = parts.find((candidate) => candidate.name === name);
          return part === undefined ? MISSING : ({ kind: 'figure', value: part.value, unit } as const);
        }),
      ],
    })),
    notes: ['Parts are differences of rows measured in the same rounds.'],
    folded: true,
  };
}
