/** Rates of recorded campaigns that documents quote: the `rate` of src/report/figures.ts. */
import { type CampaignFigures, campaignFigures, rateText } from './figures.js';
import { readCampaign } from './outcomes.js';

const read = new Map<string, CampaignFigures>();

const isPopulation = (word: string): word is 'image' | 'program' | 'damaged' | 'felt' =>
  ['image', 'program', 'damaged', 'felt'].includes(word);

/**
 * `POPULATION MECHANISM` of the campaign in a directory, as its report says it: harm to `image` or `program`,
 * `damaged`, stores into the image that changed it, or `felt`, after which the program went wrong.
 * @throws Error where there is none
 */
export function recordedRate(directory: string, [population = '', mechanism = '']: readonly string[]): string {
  const figures = read.get(directory) ?? campaignFigures(readCampaign(directory));
  read.set(directory, figures);
  const row = figures.mechanisms.find((each) => each.mechanism === mechanism);
  if (row === undefined || !isPopulation(population))
    throw new Error(`${directory} has no rate of '${population}' under '${mechanism}'`);
  return rateText(row[population]);
}
