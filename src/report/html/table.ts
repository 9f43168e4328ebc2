/** A plain table of the report's model, as HTML. */
import type { Table } from '../model.js';
import { html, type Markup } from './markup.js';

/** `label`: what screen readers call the region, which scrolls where it is too wide. */
export function plainTable(table: Table, label: string): Markup {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}">
      <table>
        <thead>
          <tr>
            ${table.head.map((head, at) => html`<th scope="col" ${table.numericFrom !== undefined && at >= table.numericFrom && html` class="n"`}>${head}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${table.rows.map(
            (row) =>
              html`<tr>
                ${row.map((cell, at) => html`<td class="${table.numericFrom !== undefined && at >= table.numericFrom ? 'n' : cell.tone}">${cell.text}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${
      table.notes.length > 0 &&
      html`<ul class="notes lead">
        ${table.notes.map((note) => html`<li>${note}</li>`)}
      </ul>`
    }`;
}
