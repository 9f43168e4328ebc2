/** Two campaigns side by side: harm under each mechanism that both have, and which differences are real. Pure. */
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
    return { lines: [`unlike fault spaces: ${first.process} and ${second.process} are not compared`], isWorse: false };
  let isWorse = false;
  const lines = a.mechanisms.flatMap((one) => {
    const other = b.mechanisms.find(({ mechanism }) => mechanism === one.mechanism);
    if (other === undefined) return [];
    return (['image', 'program'] as const).map((population) => {
      const [was, is] = [one[population], other[population]];
      const judged = is.low > was.high ? 'worse' : is.high < was.low ? 'better' : 'no difference seen';
      isWorse ||= judged === 'worse';
      const where = population === 'image' ? first.imageWords : 'all memory that the program uses';
      return `${one.mechanism}, ${where}: ${rateText(was)}, then ${rateText(is)}: ${judged}`;
    });
  });
  return { lines: lines.length === 0 ? ['no mechanism is in both'] : lines, isWorse };
}
