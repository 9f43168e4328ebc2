/** The reports of a run as files beside its run.json. */
import { join } from 'node:path';
import type { Run } from '../experiment/records.js';
import { REPORT_FILE, writeWhole } from '../experiment/store.js';
import { renderHtml } from './html/index.js';
import { renderPicture } from './html/picture.js';
import { renderMarkdown } from './markdown.js';

/** The page, and the main picture as a file of its own. */
export const HTML_FILE = 'report.html';
export const PICTURE_FILE = 'cost.svg';

/**
 * Writes report.md, report.html and, where the run has costs by image size, cost.svg. Returns the paths.
 * @throws ExperimentError when a file cannot be written
 */
export async function writeReports(directory: string, run: Run): Promise<readonly string[]> {
  const picture = await renderPicture(run);
  const files: readonly (readonly [string, string])[] = [
    [REPORT_FILE, renderMarkdown(run)], [HTML_FILE, await renderHtml(run)], ...(picture === null ? [] : [[PICTURE_FILE, picture] as const]),
  ];
  return files.map(([name, content]) => {
    const path = join(directory, name);
    writeWhole(path, content);
    return path;
  });
}
