/**
 * HTML from template literals. Whatever is put into a template is escaped, unless it came out of one: text from a run
 * can hold no markup, whatever it says. https://html.spec.whatwg.org/#escapingString
 */

/** Markup that is safe to put into a page as it is. Made by `html` and `trusted` alone. */
export class Markup {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

/** What a template takes. Lists are joined; false, null and undefined are nothing. */
export type Content = Markup | string | number | false | null | undefined | readonly Content[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as HTML text or as the value of a quoted attribute. Characters that HTML does not allow are shown as U+FFFD. */
export function escape(text: string): string {
  const entities = text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
  // oxlint-disable-next-line eslint/no-control-regex -- control characters are what it looks for
  return entities.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffe\uffff]/g, '\ufffd');
}

function render(content: Content): string {
  if (content === false || content === null || content === undefined) return '';
  if (content instanceof Markup) return content.text;
  if (typeof content === 'string') return escape(content);
  if (typeof content === 'number') return String(content);
  return content.map(render).join('');
}

/** A template's own line breaks and indentation are one space to a browser; a page has thousands of them. */
function dense(part: string): string {
  return part.includes('\n') ? part.replace(/\s*\n\s*/g, ' ') : part;
}

/** Tagged template: html`<b>${text}</b>`. Attribute values must be quoted in the template. */
export function html(parts: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  let text = dense(parts[0] ?? '');
  contents.forEach((content, at) => {
    text += render(content) + dense(parts[at + 1] ?? '');
  });
  return new Markup(text);
}

/** Markup that this program made by other means: charts, styles, scripts. Never text from a run. */
export function trusted(text: string): Markup {
  return new Markup(text);
}

/**
 * A word for an id attribute or a URL's fragment: letters, digits and hyphens. Different texts of plain words stay
 * different.
 */
export function slug(...words: readonly string[]): string {
  return words
    .join('--')
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-');
}
