/** Two campaigns side by side: harm under each mechanism that both have, and which differences are real. Pure. */
import { ExperimentError } from '../../record/errors.js';
import { subjectOf } from '../subjects.js';
import { type CampaignFigures, rateText } from './figures.js';

export interface CampaignComparison {
  readonly lines: readonly string[];
  /** Under some mechanism, the second's harm lies above the first's, interval above interval. */
  readonly isWorse: boolean;
}

export function compareCampaigns(a: CampaignFigures, b: CampaignFigures): CampaignComparison {
  const [first, second] = [subjectOf(a.campaign.plan), subjectOf(b.campaign.plan)];
  if (first !== second)
    throw new ExperimentError(`campaigns of unlike programs are not compared: ${first.process} and ${second.process}`);
  const lanes = `${a.campaign.plan.lane} lane, then ${b.campaign.plan.lane}`;
  let isWorse = false;
  const lines = a.mechanisms.flatMap((each) => {
    const other = b.mechanisms.find(({ mechanism }) => mechanism === each.mechanism);
    if (other === undefined) return [];
    return (['image', 'program'] as const).map((population) => {
      const [was, is] = [each[population], other[population]];
      const judged = is.low > was.high ? 'worse' : is.high < was.low ? 'better' : 'no difference seen';
      isWorse ||= judged === 'worse';
      const where = population === 'image' ? first.imageWords : first.programWords;
      return `${each.mechanism}, ${where} (${lanes}): ${rateText(was)}, then ${rateText(is)}: ${judged}`;
    });
  });
  if (lines.length === 0) {
    const names = [a, b].map(({ mechanisms }) => mechanisms.map(({ mechanism }) => mechanism).join(', '));
    throw new ExperimentError(`no mechanism is in both campaigns: ${names.join('; ')}`);
  }
  return { lines, isWorse };
}
