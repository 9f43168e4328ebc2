/** report.md and the CSV of a campaign. */
import { subjectOf } from '../subjects.js';
import { MOMENTS } from '../words.js';
import {
  type CampaignFigures,
  damagedSentence,
  feltSentence,
  programSentence,
  rateText,
  replayText,
  sentence,
  wordsOf,
} from './figures.js';

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const pText = (p: number): string => (p < 1e-6 ? 'under 0.000001' : p.toPrecision(2));

/** Half-decades of time, by their upper ends. */
export function deathBin(bin: number, bins: number): string {
  const ends = [
    '1 us',
    '3 us',
    '10 us',
    '32 us',
    '100 us',
    '320 us',
    '1 ms',
    '3 ms',
    '10 ms',
    '32 ms',
    '100 ms',
    '320 ms',
  ];
  return bin === bins - 1 ? 'later' : `to ${ends[bin] ?? ''}`;
}

export function renderMarkdown(figures: CampaignFigures): string {
  const { campaign, mechanisms, pairs, waterfalls } = figures;
  const { plan } = campaign;
  const subject = subjectOf(plan);
  const names = mechanisms.map(({ mechanism }) => `\`${mechanism}\``);
  const trials = mechanisms.map(({ mechanism, trials: made, unmade }) => {
    const lost = unmade > 0 ? `, ${unmade} more could not be made` : '';
    return `${made} under \`${mechanism}\`${lost}`;
  });
  const strata = plan.strata.map(({ name, bytes }, at) => [
    `${name}: ${subject.texts[name] ?? ''}`,
    bytes === 0 ? '' : bytes.toLocaleString('en'),
    ...mechanisms.map((each) => {
      const harm = each.strata[at]?.harm;
      return harm === undefined ? '' : `${rateText(harm)}, ${harm.count} of ${harm.of}`;
    }),
  ]);
  const example = mechanisms.at(-1)?.mechanism ?? 'none';
  return `# A campaign of random faults

${sentence(figures)}

${damagedSentence(figures)}

${feltSentence(figures)}

${programSentence(figures)}

Harm: the program crashed, hung, answered wrongly with no error told, or ${subject.imageWords} was
changed. Intervals are at 95 %:
Wilson's, exact (Clopper-Pearson) where a count is under 10, and over strata weighed by bytes (Korn-Graubard).

Seed ${plan.seed}, lane ${plan.lane}, Linux ${plan.kernel}, ${plan.cpu}; trials: ${trials.join('; ')}.
${plan.planted > 0 ? `\nEvery ${plan.planted}th fault of a stratum met a gate that was opened on purpose.\n` : ''}${
    plan.until === null
      ? ''
      : `\nRule to end: half-widths up to ${plan.until.halfWidth}, each ${plan.until.lookEvery} faults a stratum.\n`
  }
## Harm by stratum

${table(['stratum', 'bytes', ...names], strata)}

## Harm to ${subject.imageWords} by the moment of the store

${table(
  ['moment', ...names],
  MOMENTS.map((moment, at) => [
    moment,
    ...mechanisms.map(({ moments }) => {
      const harm = moments[at];
      return harm === undefined ? '' : `${rateText(harm)}, ${harm.count} of ${harm.of}`;
    }),
  ]),
)}

## The same faults under two mechanisms

${table(
  ['first', 'second', 'faults', 'harm under the first alone', 'under the second alone', 'McNemar, exact'],
  pairs.map((pair) => [
    pair.first,
    pair.second,
    String(pair.faults),
    String(pair.onlyFirst),
    String(pair.onlySecond),
    pText(pair.p),
  ]),
)}

## What each layer catches

${waterfalls
  .map(({ population, faults, steps }) => {
    const rows = steps.map((step) => [step.text, String(step.faults)]);
    return table([`${faults} ${population}`, 'faults'], rows);
  })
  .join('\n\n')}

## When the program died

${table(
  ['death or hang', ...names],
  subject.units.map((text, unit) => [text, ...campaign.units.map((counts) => String(counts[unit] ?? 0))]),
)}
${
  plan.lane === 'native'
    ? `\n${table(
        ['time after the fault', ...names],
        (campaign.deaths[0] ?? []).map((_, bin, all) => [
          deathBin(bin, all.length),
          ...campaign.deaths.map((counts) => String(counts[bin] ?? 0)),
        ]),
      )}\n`
    : ''
}
## One fault again

\`${replayText(campaign, 2, example)}\` makes fault 2 again ${wordsOf(example)}, with all
evidence; \`--campaign DIR\` takes the seed and the strata from a campaign's directory.
`;
}

export function renderCsv({ mechanisms, campaign }: CampaignFigures): string {
  const rows = mechanisms.flatMap(({ mechanism, strata }) =>
    strata.map(({ name, harm }, at) =>
      [
        mechanism,
        name,
        campaign.plan.strata[at]?.bytes ?? 0,
        harm.of,
        harm.count,
        harm.estimate,
        harm.low,
        harm.high,
        harm.method,
      ].join(','),
    ),
  );
  return `mechanism,stratum,bytes,faults,harm,estimate,low,high,interval\n${rows.join('\n')}\n`;
}
