/** Where and how a run was made: its environment, and the method of its figures. Pure functions of a run. */
import type { Run } from '../../record/records.js';
import type { Basis } from './basis.js';
import { formatBytes, formatCount } from './format.js';
import { modelText } from './key-model.js';
import { costsOf } from './records.js';
import { OUTLIER_SCORE } from './spread.js';
import { factsTable, type Table } from './table.js';
import type { Text } from './text.js';

type Fact = readonly [string, Text];

/** The environment, as pairs. */
export function environmentTable(run: Run): Table {
  const { context } = run;
  const { host, imageFile } = context;
  return factsTable('environment', 'Environment', [
    ['started', context.started],
    ['finished', context.finished],
    ['commit', context.commit ?? 'not in a repository'],
    ['seed', String(context.seed)],
    ['CPU', `${host.cpu}, ${host.cores} cores${host.virtualised ? ', virtualised' : ''}`],
    ['protection keys on this CPU', host.keys ? 'yes' : 'no'],
    ['memory', formatBytes(host.memoryBytes)],
    ['system', `${host.system}, Linux ${host.kernel}`],
    ...Object.entries(context.versions),
    ...(imageFile === null ? [] : [['image file', `${imageFile.name}, ${formatBytes(imageFile.bytes)}`] as const]),
    ...context.lanes.flatMap((lane): readonly Fact[] => [
      [
        `${lane.lane} lane`,
        `Linux ${lane.kernel}; ${lane.cpu}; ` +
          `${lane.keys ? 'protection keys' : `no protection keys: ${lane.keysReason ?? 'unknown why'}`}`,
      ],
      ...Object.entries(lane.details).map(([name, text]): Fact => [`${lane.lane}: ${name}`, text]),
    ]),
  ]);
}

const VERDICTS: readonly Fact[] = [
  [
    'Verdicts',
    'Each trial runs in a fresh process, watched by another one that reads the image at its death. A verdict ' +
      'is given after the aftermath: allocation, stdio, dlopen, garbage collection, a check of all objects and ' +
      'an honest callout, on this thread and another.',
  ],
  [
    'Prevented',
    'counts only with the right si_code and key, an address inside the space, an instruction outside the ' +
      "VM's own modules, an image equal to its snapshot, and an aftermath that works.",
  ],
];

const TIMES: readonly Fact[] = [
  [
    'Figures',
    'The figure of a time is the median of its samples. Bars and brackets are 95 % intervals of it by the ' +
      'bootstrap (percentile method, 500 resamples, seeded: the same samples give the same interval).',
  ],
  [
    'Ratios',
    [
      "“×” is the median of the ratios of samples taken in the same round: the guarded row's over the " +
        "unguarded one's (a raw call, koffi itself, or the same work under ",
      { code: 'none' },
      '), with a bootstrap interval of that; drift of the machine cancels out. Where the numbers of samples ' +
        'differ it is the ratio of medians, marked “not paired”.',
    ],
  ],
  [
    'Outliers',
    `A sample with a modified z-score over ${OUTLIER_SCORE} (by the median absolute deviation, MAD) is ` +
      'named, and never taken out.',
  ],
];

const COUNTS: Fact = [
  'Emulated lane',
  'a Linux kernel under an emulated CPU with protection keys. What is prevented there is the ' +
    "architecture's word. Costs are executed instructions, user and kernel, counted by the guest's clock; a " +
    'figure is the least of its repetitions. A rights write counts as one and costs tens of cycles: no count ' +
    'is a time, and nothing from JavaScript is counted.',
];

const MODEL_RUN: Fact = [
  'Model run',
  'real programs with a calibrated serialising delay where the gate would write rights, in the lane ' +
    '‘model’: it protects nothing, and takes the cost of a rights write for given.',
];

/** How a run's figures came about: the facts about what the run has. */
export function methodTable({ run, model }: Basis): Table {
  const { context } = run;
  const timed = costsOf(run).filter(({ unit }) => unit === 'ns');
  const samples = timed.reduce((sum, record) => sum + record.samples.length, 0);
  const clock = context.lanes.find(({ lane }) => lane === 'native')?.details['clock'];
  const some = (present: boolean, facts: readonly Fact[]): readonly Fact[] => (present ? facts : []);
  return factsTable('method', 'Method', [
    ...some(
      run.records.some(({ kind }) => kind === 'corruption'),
      VERDICTS,
    ),
    ...some(timed.length > 0, [
      [
        'Native lane',
        `times of this CPU; ${formatCount(timed.length)} rows, ${formatCount(samples)} samples kept. Loops in ` +
          'C are timed by a native program, calls from JavaScript by benchmark.js or around whole units of work; ' +
          'the empty loop is taken off. Rows that are compared are measured in the same rounds, in a random ' +
          'order drawn from the seed, in fresh processes.',
      ],
      ...(clock === undefined ? [] : [['Clock', clock] as const]),
      ...TIMES,
    ]),
    ...some(timed.length < costsOf(run).length, [COUNTS]),
    ...(model === null
      ? []
      : [
          [
            'Model',
            `${modelText(model)}. Published range: ERIM (Vahldiek-Oberwagner et al., USENIX Security 2019); ` +
              'most are under 100 ' +
              `cycles.${model.assumed ? " The frequency is an assumption: the CPU's name does not tell it." : ''} ` +
              'Drawn dashed and apart; nothing of it was measured.',
          ] as const,
        ]),
    ...some(
      costsOf(run).some(({ lane }) => lane === 'model'),
      [MODEL_RUN],
    ),
    [
      'Fault model',
      "faulty foreign code, not hostile code: no store by the callee's own instructions changes a keyed page " +
        'while the rights are down. Code that writes the rights register itself, and the kernel on its behalf, ' +
        'can get round it; the matrix has cases for that.',
    ],
    [
      'Seed',
      `${context.seed}: the same seed gives every case the same damage under every mechanism, and the same ` +
        'order of measurements',
    ],
  ]);
}
