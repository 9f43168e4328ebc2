/** The reports of a run as files beside its run.json. */
import { dirname, join, relative, resolve } from 'node:path';

import { PROJECT_ROOT } from '../record/paths.js';
import { readPrograms } from '../record/programs.js';
import type { Run } from '../record/records.js';
import { EVIDENCE_FILE, LIMITS_FILE, REPORT_FILE, writeWhole } from '../record/store.js';
import { type Findings, findings } from './findings/index.js';
import { renderHtml } from './html/index.js';
import { renderPicture } from './html/picture.js';
import { CHARTS_NEED, packages } from './html/vega.js';
import { type LimitsOptions, renderLimits } from './limits.js';
import { renderEvidence, renderMarkdown } from './markdown.js';

/** The page, and the main picture as a file of its own. */
export const HTML_FILE = 'report.html';
export const PICTURE_FILE = 'cost.svg';

/** Runs that limits.md sets beside a run (LimitsOptions). */
export type LimitsRuns = Pick<LimitsOptions, 'beside' | 'hardened' | 'hardenedBeside'>;

/** Other sentences for the answer than the run's own. */
export type Answers = Findings['answer'];

/** limits.md, with links to the cases' sources where it lies in the project. */
function limitsFor(path: string, run: Run, others: LimitsRuns): string {
  const inside = !relative(PROJECT_ROOT, resolve(path)).startsWith('..');
  return renderLimits(run, {
    ...(inside ? { sources: `${relative(dirname(resolve(path)), PROJECT_ROOT) || '.'}/` } : {}),
    ...others,
  });
}

/** One sentence where the charts of a report could not be drawn, and what draws them. */
export async function chartsNote(directory: string): Promise<string | undefined> {
  if ((await packages()) !== undefined) return undefined;
  return `the charts were not drawn: ${CHARTS_NEED}, then npx turnkey report ${relative('', directory) || '.'}`;
}

/**
 * Writes limits.md, where the run has corruption cases: to `limits` if that is given, with `others` beside the run.
 * Then report.md, evidence.md, report.html and, where the run has costs by image size, cost.svg. They tell of
 * programs that were never ported where the directory has a file of them. `answers` stand after the run's own. Returns
 * the paths.
 * @throws ExperimentError when a file cannot be written
 */
export async function writeReports(
  directory: string,
  run: Run,
  limits?: string,
  others: LimitsRuns = {},
  answers: Answers = [],
): Promise<readonly string[]> {
  const own = findings(run, readPrograms(directory));
  const found = { ...own, answer: [...own.answer, ...answers] };
  const picture = await renderPicture(found.picture);
  const files: readonly (readonly [string, string])[] = [
    [REPORT_FILE, renderMarkdown(found, PICTURE_FILE, EVIDENCE_FILE)],
    [EVIDENCE_FILE, renderEvidence(found)],
    [HTML_FILE, await renderHtml(found)],
    ...(picture === null ? [] : [[PICTURE_FILE, picture] as const]),
  ];
  const hasLimits = limits !== undefined || found.evidence.length > 0;
  const limitsPath = limits ?? join(directory, LIMITS_FILE);
  const texts = [
    ...(hasLimits ? [[limitsPath, limitsFor(limitsPath, run, others)] as const] : []),
    ...files.map(([name, content]) => [join(directory, name), content] as const),
  ];
  for (const [path, content] of texts) writeWhole(path, content);
  return texts.map(([path]) => path);
}
