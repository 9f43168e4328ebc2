/** `turnkey report`: a run's reports, or a campaign's, written again. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import type { Command } from 'commander';

import { directoryOf, readRun } from '../record/store.js';
import type { Answers } from '../report/files.js';
import { findings } from '../report/findings/index.js';
import { renderTerminal } from '../report/terminal.js';
import { refuseFlags } from './options.js';

export interface ReportFlags {
  readonly limits?: string;
  readonly beside?: string;
  readonly hardened?: string;
  readonly hardenedBeside?: string;
}

const colour = (): boolean => process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
export const terminalOptions = (): { readonly colour: boolean; readonly width: number } => ({
  colour: colour(),
  width: (process.stdout as { readonly columns?: number }).columns ?? 120,
});

/** Campaigns are for a checkout: the package has no part of them. */
export async function campaigns(): Promise<typeof import('./campaign.js') | undefined> {
  return existsSync(new URL('campaign.js', import.meta.url)) ? import('./campaign.js') : undefined;
}

/** Where a run keeps the campaign that was made along with it: `npm start` makes one. */
const CAMPAIGN_FOLDER = 'campaign';

/** What a run's report says of the campaign in its directory. */
export async function campaignAnswers(directory: string): Promise<Answers> {
  const kept = join(directory, CAMPAIGN_FOLDER);
  const campaign = await campaigns();
  if (campaign?.isCampaign(kept) !== true) return [];
  const report = `${CAMPAIGN_FOLDER}/report.html`;
  const text = [`${campaign.campaignSentence(kept)} A campaign beside this run: `, { link: report, to: report }, '.'];
  return [{ about: 'Random stores', text }];
}

export async function reportCommand(
  directory: string,
  { limits, beside, hardened, hardenedBeside }: ReportFlags,
  self: Command,
): Promise<number> {
  const campaign = await campaigns();
  if (campaign?.isCampaign(directory) === true) {
    refuseFlags(self, ['limits', 'beside', 'hardened', 'hardenedBeside'], 'for a campaign');
    return campaign.reportCampaign(directory);
  }
  const document = readRun(directory);
  process.stdout.write(`${renderTerminal(findings(document), terminalOptions())}\n`);
  const { writeReports } = await import('../report/files.js');
  const runs = {
    ...(beside === undefined ? {} : { beside: readRun(beside) }),
    ...(hardened === undefined ? {} : { hardened: readRun(hardened) }),
    ...(hardenedBeside === undefined ? {} : { hardenedBeside: readRun(hardenedBeside) }),
  };
  const answers = await campaignAnswers(directoryOf(directory));
  const paths = await writeReports(directoryOf(directory), document, limits, runs, answers);
  process.stdout.write(`${paths.join('\n')}\n`);
  return 0;
}
