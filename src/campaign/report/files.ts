/** Writes a campaign's report beside its records. */
import { join } from 'node:path';

import { writeWhole } from '../../record/store.js';
import { campaignFigures, damagedSentence, feltSentence, programSentence, sentence } from './figures.js';
import { renderCampaignHtml } from './html.js';
import { renderCsv, renderMarkdown } from './markdown.js';
import { readCampaign, writePackedCampaign } from './outcomes.js';

/** Writes report.md, report.html, campaign.csv and campaign.json.br. Returns the sentence and the paths. */
export function writeCampaignReport(directory: string): readonly string[] {
  const campaign = readCampaign(directory);
  const figures = campaignFigures(campaign);
  const paths = (
    [
      ['report.md', renderMarkdown(figures)],
      ['report.html', renderCampaignHtml(figures)],
      ['campaign.csv', renderCsv(figures)],
    ] as const
  ).map(([name, text]) => {
    writeWhole(join(directory, name), text);
    return join(directory, name);
  });
  return [
    sentence(figures),
    damagedSentence(figures),
    feltSentence(figures),
    programSentence(figures),
    ...paths,
    writePackedCampaign(directory, campaign),
  ];
}
