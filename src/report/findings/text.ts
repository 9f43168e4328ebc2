/**
 * Text with the little emphasis that reports need, as a value: each renderer says in its own way what is strong, code
 * or a link. Nothing here knows of a format.
 */
import { formatCount } from './format.js';

export type Text =
  | string
  | { readonly strong: string }
  | { readonly code: string }
  /** Less important than what stands before it. */
  | { readonly quiet: string }
  /** `to`: a section's id after `#`, or a path. */
  | { readonly link: string; readonly to: string }
  | readonly Text[];

/** Without emphasis: for terminals, attributes and tests. */
export function plainText(text: Text): string {
  if (typeof text === 'string') return text;
  if ('strong' in text) return text.strong;
  if ('code' in text) return text.code;
  if ('quiet' in text) return text.quiet;
  if ('link' in text) return text.link;
  return text.map(plainText).join('');
}

/** Joins texts, leaving out empty ones. */
export function joined(texts: readonly Text[], separator: string): Text {
  return texts
    .filter((text) => plainText(text) !== '')
    .flatMap((text, at): readonly Text[] => (at === 0 ? [text] : [separator, text]));
}

/** A count with its noun: `1 case`, `3 cases`. */
export function plural(count: number, word: string, words = `${word}s`): string {
  return `${formatCount(count)} ${count === 1 ? word : words}`;
}

/** The first names, and how many more there are; at most one more than `most` is named. */
export function someOf(names: readonly string[], most: number): string {
  return names.length <= most + 1
    ? names.join(', ')
    : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}
