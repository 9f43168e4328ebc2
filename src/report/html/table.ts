/** Tables as HTML. */
import { type Cell, cellText, cellTone, type Column, type Row, type Table } from '../findings/table.js';
import { plainText } from '../findings/text.js';
import { LOOKS } from './looks.js';
import { html, type Markup } from './markup.js';
import { textMarkup } from './text.js';

/** Class and colour of a column's head, and of its figures where they are a model's. */
function columnClass({ align, mechanism }: Column): { readonly names: string; readonly style: Markup | false } {
  return {
    names: `${align === 'right' ? 'n' : ''}${mechanism === undefined ? '' : ` m-${LOOKS[mechanism].ink}`}`.trim(),
    style: mechanism !== undefined && html` style="color:var(--m)"`,
  };
}

function head(column: Column): Markup {
  const { names, style } = columnClass(column);
  return html`<th scope="col" ${names !== '' && html` class="${names}"`}${style}>${column.title}</th>`;
}

/** A cell; a dash where nothing is known. */
function cellMarkup(cell: Cell, column: Column | undefined, isHead: boolean): Markup {
  const text = textMarkup(cellText(cell));
  if (isHead) return html`<th scope="row">${text}</th>`;
  const isModel = column?.mechanism === 'pkeys-model';
  const tone = cellTone(cell);
  const names = [
    ...(column?.align === 'right' ? ['n'] : []),
    ...(tone === 'plain' ? [] : [tone]),
    ...(isModel ? ['m-model'] : []),
  ].join(' ');
  const detail = cell.kind === 'figure' || cell.kind === 'range' ? cell.detail : undefined;
  const classes = names !== '' && html` class="${names}"`;
  const title = detail !== undefined && html` title="${detail}"`;
  const colour = isModel && html` style="color:var(--m)"`;
  return html`<td ${classes}${title}${colour}>
    ${plainText(cellText(cell)) === '' && cell.kind === 'missing' ? '–' : text}
  </td>`;
}

function rowMarkup({ cells }: Row, columns: readonly Column[]): Markup {
  return html`<tr>
    ${cells.map((cell, at) => cellMarkup(cell, columns[at], at === 0))}
  </tr>`;
}

/** A table of names and texts. */
function factsMarkup({ rows }: Table): Markup {
  return html`<dl class="facts">
    ${rows.map(
      ({ cells: [name, text] }) =>
        html`<dt>${name === undefined ? '' : textMarkup(cellText(name))}</dt>
          <dd>${text === undefined ? '' : textMarkup(cellText(text))}</dd>`,
    )}
  </dl>`;
}

function wholeTable({ title, columns, rows, notes }: Table): Markup {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${title}">
      <table>
        <thead>
          <tr>
            ${columns.map(head)}
          </tr>
        </thead>
        <tbody>
          ${rows.map((row) => rowMarkup(row, columns))}
        </tbody>
      </table>
    </div>
    ${
      notes.length > 0 &&
      html`<ul class="notes lead">
        ${notes.map((note) => html`<li>${textMarkup(note)}</li>`)}
      </ul>`
    }`;
}

/** Any table but a matrix. `heading`: whether it stands under a heading of its own. */
export function tableMarkup(table: Table, { heading }: { readonly heading: boolean }): Markup {
  if (table.layout === 'facts') return factsMarkup(table);
  if (table.folded === true)
    return html`<details>
      <summary>${table.title}</summary>
      ${wholeTable(table)}
    </details>`;
  return html`${heading && html`<h3>${table.title}</h3>`}${wholeTable(table)}`;
}
