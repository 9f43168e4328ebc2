/** limits.md: what keys do not stop. A pure function of runs. */
import type { Run } from '../record/records.js';
import { limitsOf } from './findings/limits.js';
import { markdownBlocks, markdownText } from './markdown.js';

export interface LimitsOptions {
  /** Path from the document's folder to the project, with a slash at its end; no links where missing. */
  readonly sources?: string;
  /** A run of the same cases under another kernel: what differs is described. */
  readonly beside?: Run;
  /** A run of the same cases under hardened guards: what each remedy was seen to do is told. */
  readonly hardened?: Run;
  /** The same under another kernel: what differs with everything on is described. */
  readonly hardenedBeside?: Run;
}

/** The document. */
export function renderLimits(run: Run, { sources, beside, hardened, hardenedBeside }: LimitsOptions = {}): string {
  const { intro, sections } = limitsOf(run, beside, hardened, hardenedBeside);
  // A case is a link to its source, or its name where there is nothing to lead to.
  const link = (to: string): string | null => (sources === undefined ? null : `${sources}${to}`);
  return [
    '# What keys do not stop',
    '',
    ...intro.flatMap((paragraph) => [markdownText(paragraph), '']),
    ...sections.flatMap(({ title, blocks }) => [`## ${title}`, '', ...markdownBlocks(blocks, { link, titles: false })]),
  ].join('\n');
}
