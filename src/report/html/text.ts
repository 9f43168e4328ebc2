/** Text with emphasis, as HTML. */
import type { Text } from '../findings/text.js';
import { html, type Markup } from './markup.js';

/** `sourceBase`: where paths of the project are, seen from the page. */
export function textMarkup(text: Text, sourceBase = ''): Markup {
  if (typeof text === 'string') return html`${text}`;
  if ('strong' in text) return html`<b>${text.strong}</b>`;
  if ('code' in text) return html`<code>${text.code}</code>`;
  if ('quiet' in text) return html`<span class="lead">${text.quiet}</span>`;
  if ('link' in text) return html`<a href="${text.to.startsWith('#') ? '' : sourceBase}${text.to}">${text.link}</a>`;
  return html`${text.map((part) => textMarkup(part, sourceBase))}`;
}
