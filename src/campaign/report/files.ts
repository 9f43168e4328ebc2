/** Writes a campaign's report. */
export function writeCampaignReport(directory: string, _how: 'say'): readonly string[] {
  return [directory];
}
