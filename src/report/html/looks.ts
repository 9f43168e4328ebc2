/** How mechanisms and verdicts look. Signs, dashes and shapes say the same as colours. */
import type { Verdict } from '../../record/words.js';
import type { LookName } from '../findings/charts.js';
import type { Tone } from '../findings/table.js';

/** `ink` names a colour of the style sheet. */
export interface Look {
  readonly ink: string;
  /** Line pattern in px; empty is solid. */
  readonly dash: readonly number[];
  /** A shape of Vega's. */
  readonly shape: string;
}

export const LOOKS: Readonly<Record<LookName, Look>> = {
  none: { ink: 'none', dash: [2, 3], shape: 'circle' },
  flag: { ink: 'flag', dash: [7, 3], shape: 'diamond' },
  'mprotect-page': { ink: 'page', dash: [], shape: 'triangle-up' },
  'mprotect-range': { ink: 'range', dash: [], shape: 'square' },
  'mprotect-naive': { ink: 'naive', dash: [5, 3], shape: 'triangle-down' },
  pkeys: { ink: 'pkeys', dash: [], shape: 'circle' },
  'pkeys-glibc': { ink: 'glibc', dash: [4, 2], shape: 'cross' },
  'pkeys-model': { ink: 'model', dash: [2, 2], shape: 'cross' },
  process: { ink: 'process', dash: [1, 2], shape: 'triangle-right' },
  'by hand': { ink: 'process', dash: [], shape: 'triangle-right' },
};

/** Shapes of series, in the order of SHAPE_SIGNS. */
export const SHAPES = ['circle', 'square', 'triangle-up'] as const;

/** Colours of the parts of bars, in their order. */
export const PART_INKS = ['part-gate', 'part-kernel', 'part-handler', 'part-javascript'] as const;

/** A verdict where there is room for one letter. */
export const VERDICT_LETTERS: Readonly<Record<Verdict, string>> = {
  prevented: 'P',
  refused: 'R',
  trapped: 'T',
  damaged: 'D',
  'host-damaged': 'H',
  disclosed: 'L',
  crashed: 'C',
  hung: 'U',
  harmless: 'N',
};

export const TONE_SIGNS: Readonly<Record<Tone, string>> = {
  good: '✓',
  bad: '✗',
  neutral: '†',
  missing: '',
  plain: '',
};
