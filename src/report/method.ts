/** How a run's figures came about, for the section 'Method' of both reports. A pure function of a run. */
import type { Run } from '../record/records.js';
import { formatCount } from './format.js';
import { keyModel } from './html/figures.js';
import { type Content, html } from './html/markup.js';
import { modelText } from './html/picture.js';
import { costsOf } from './model.js';
import { OUTLIER_SCORE } from './spread.js';

export interface Fact {
  readonly name: string;
  readonly text: Content;
}

/** The facts, those of what the run has. */
export function methodFacts(run: Run): readonly Fact[] {
  const { context } = run;
  const model = keyModel(run);
  const timed = costsOf(run).filter(({ unit }) => unit === 'ns');
  const counted = costsOf(run).filter(({ unit }) => unit === 'instructions');
  const samples = timed.reduce((sum, record) => sum + record.samples.length, 0);
  const clock = context.lanes.find(({ lane }) => lane === 'native')?.details['clock'];
  return [
    ...(run.records.some(({ kind }) => kind === 'corruption')
      ? [
          {
            name: 'Verdicts',
            text:
              'Each trial runs in a fresh process, watched by another one that reads the image at its death. A ' +
              'verdict is given after the aftermath: allocation, stdio, dlopen, garbage collection, a check of ' +
              'all objects and an honest callout, on this thread and another.',
          },
          {
            name: 'Prevented',
            text:
              'counts only with the right si_code and key, an address inside the space, an instruction outside ' +
              "the VM's own modules, an image equal to its snapshot, and an aftermath that works.",
          },
        ]
      : []),
    ...(timed.length === 0
      ? []
      : [
          {
            name: 'Native lane',
            text: html`times of this CPU; ${formatCount(timed.length)} rows, ${formatCount(samples)} samples kept. Loops
            in C are timed by a native program, calls from JavaScript by benchmark.js or around whole units of work; the
            empty loop is taken off. Rows that are compared are measured in the same rounds, in a random order drawn
            from the seed, in fresh processes.`,
          },
          ...(clock === undefined ? [] : [{ name: 'Clock', text: clock }]),
          {
            name: 'Figures',
            text:
              'The figure of a time is the median of its samples. Bars and brackets are 95 % intervals of it by ' +
              'the bootstrap (percentile method, 500 resamples, seeded: the same samples give the same interval).',
          },
          {
            name: 'Ratios',
            text: html`“×” is the median of the ratios of samples taken in the same round: the guarded row's over the
              unguarded one's (a raw call, koffi itself, or the same work under <code>none</code>), with a bootstrap
              interval of that; drift of the machine cancels out. Where the numbers of samples differ it is the ratio of
              medians, marked “not paired”.`,
          },
          {
            name: 'Outliers',
            text:
              `A sample with a modified z-score over ${OUTLIER_SCORE} (by the median absolute deviation, MAD) is ` +
              'named, and never taken out.',
          },
        ]),
    ...(counted.length === 0
      ? []
      : [
          {
            name: 'Emulated lane',
            text:
              'a Linux kernel under an emulated CPU with protection keys. What is prevented there is the ' +
              "architecture's word. Costs are executed instructions, user and kernel, counted by the guest's " +
              'clock; a figure is the least of its repetitions. A rights write counts as one and costs tens of ' +
              'cycles: no count is a time, and nothing from JavaScript is counted.',
          },
        ]),
    ...(model === null
      ? []
      : [
          {
            name: 'Model',
            text: html`${modelText(model)}. Published range: ERIM (Vahldiek-Oberwagner et al., USENIX Security 2019);
            most are under 100
            cycles.${model.assumed && " The frequency is an assumption: the CPU's name does not tell it."} Drawn dashed
            and apart; nothing of it was measured.`,
          },
        ]),
    ...(costsOf(run).some(({ lane }) => lane === 'model')
      ? [
          {
            name: 'Model run',
            text:
              'real programs with a calibrated serialising delay where the gate would write rights, in the lane ' +
              '‘model’: it protects nothing, and takes the cost of a rights write for given.',
          },
        ]
      : []),
    {
      name: 'Fault model',
      text:
        "faulty foreign code, not hostile code: no store by the callee's own instructions changes a keyed page " +
        'while the rights are down. Code that writes the rights register itself, and the kernel on its behalf, ' +
        'can get round it; the matrix has cases for that.',
    },
    {
      name: 'Seed',
      text:
        `${context.seed}: the same seed gives every case the same damage under every mechanism, and the same ` +
        'order of measurements',
    },
  ];
}
