/**
 * Vega's scene as SVG text. What a page of ours needs and Vega has no option for stands here, and only here. That is
 * the root's attributes, marks that a keyboard reaches, clip names that do not count through the process, and fewer
 * digits. It is done to elements and attributes as Vega emits them, by a renderer registered through Vega's own
 * extension point (renderModule); no text is searched.
 */
import { createHash } from 'node:crypto';

import { escape, type Markup, trusted } from './markup.js';

type Attributes = Readonly<Record<string, unknown>>;

/** What Vega's renderer writes through. */
interface Writer {
  open(tag: string, ...attributes: readonly (Attributes | null | undefined)[]): Writer;
  text(text: string): Writer;
  close(): Writer;
}

/** What Vega's type declarations leave out. */
interface Internals {
  readonly SVGStringRenderer: new (loader?: unknown) => {
    mark(writer: Writer, scene: Scene): Writer;
    defs(writer: Writer): void;
  };
  readonly renderModule: (name: string, module: { readonly headless: unknown }) => void;
  readonly textMetrics: {
    width: (item: { readonly text?: string | number; readonly fontSize?: number }, text?: string) => number;
  };
}

interface Scene {
  readonly items: { description?: string }[];
}

/** Attributes that say what is so without them, or what only Vega's own renderers read. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  opacity: 1,
  'font-family': 'inherit',
  'font-weight': 'normal',
  'stroke-dasharray': '',
};
const UNUSED: ReadonlySet<string> = new Set(['class', 'pointer-events', 'aria-roledescription']);
/** Attributes with numbers in them. */
const PLACES: ReadonlySet<string> = new Set(['d', 'transform', 'x', 'y', 'x1', 'x2', 'y1', 'y2']);

/** Elements as text, with the attributes that our pages want. */
class SvgWriter implements Writer {
  #text = '';
  /** The last tag that was opened has no content yet. */
  #isBare = false;
  /** Tags still open; null for an element that is left out. */
  readonly #open: (string | null)[] = [];
  readonly #clips = new Map<string, string>();
  readonly #clipPrefix: string;
  #marks = 0;

  /** @param name of the chart, from which its clips' ids are made: a page must not depend on what was drawn before */
  constructor(name: string) {
    this.#clipPrefix = `clip-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
  }

  open(tag: string, ...sets: readonly (Attributes | null | undefined)[]): this {
    const all = Object.assign({}, ...sets) as Attributes;
    // Vega's places for a background and a foreground; nothing of ours is drawn there.
    const isEmptyPlace = tag === 'path' && (all['class'] === 'background' || all['class'] === 'foreground');
    this.#open.push(isEmptyPlace ? null : tag);
    if (isEmptyPlace) return this;
    this.#begin(`<${tag}`);
    const isMark = tag === 'path' && all['role'] === GRAPHIC && all['aria-label'] !== undefined;
    // A chart is one stop of the keyboard; arrow keys walk through its marks (script.ts), whose names are their titles.
    if (isMark) this.#text += ` class="mark" tabindex="${this.#marks++ === 0 ? 0 : -1}" role="img"`;
    for (const [name, value] of Object.entries(all)) {
      if (value == null || value === DEFAULTS[name] || UNUSED.has(name)) continue;
      if (isMark ? name === 'aria-label' || name === 'role' : value === 'graphics-object') continue;
      this.#text += ` ${name}="${escape(this.#value(name, value))}"`;
    }
    if (isMark) this.#begin(`<title>${escape(String(all['aria-label']))}</title>`, false);
    return this;
  }

  /** Ends the tag before, and begins another. */
  #begin(text: string, isBare = true): void {
    this.#text += `${this.#isBare ? '>' : ''}${text}`;
    this.#isBare = isBare;
  }

  #value(name: string, value: unknown): string {
    if (PLACES.has(name)) return String(value).replace(/(\d+\.\d{2})\d+/g, '$1');
    const text = String(value);
    if (text === GRAPHIC) return 'img';
    if (name === 'clip-path') return `url(#${this.#clip(text.slice('url(#'.length, -1))})`;
    return name === 'id' ? this.#clip(text) : text;
  }

  /** Vega numbers clips through the whole process. */
  #clip(id: string): string {
    const own = this.#clips.get(id) ?? `${this.#clipPrefix}-${this.#clips.size}`;
    this.#clips.set(id, own);
    return own;
  }

  text(text: string): this {
    this.#begin(escape(text), false);
    return this;
  }

  close(): this {
    const tag = this.#open.pop();
    if (tag == null) return this;
    this.#text += this.#isBare ? '/>' : `</${tag}>`;
    this.#isBare = false;
    return this;
  }

  toString(): string {
    return this.#text;
  }
}

/** A drawn chart, and its size in px. */
export interface Drawing {
  readonly svg: Markup;
  readonly width: number;
  readonly height: number;
}

/** The role of what has no parts, in Vega's words; assistive technology knows `img` better. */
const GRAPHIC = 'graphics-symbol';

/**
 * Makes Vega write SVG as our pages want it: the root's attributes by us, its content by Vega. The accessible name is
 * the description of the top group.
 */
export function registerRenderer(vega: object): void {
  const internals = vega as Internals;
  // Vega guesses widths of text without a canvas, too wide for the fonts used here; labels beside lines then leave
  // holes.
  internals.textMetrics.width = (item, text) => 0.56 * String(text ?? item.text ?? '').length * (item.fontSize ?? 11);
  class ChartRenderer extends internals.SVGStringRenderer {
    declare readonly _width: number;
    declare readonly _height: number;
    declare readonly _origin: readonly [number, number];
    declare _drawing: Drawing;

    _render(scene: Scene): this {
      const [top] = scene.items;
      const name = top?.description ?? '';
      if (top !== undefined) delete top.description;
      const content = new SvgWriter(name);
      content.open('g', { fill: 'none', 'stroke-miterlimit': 4, transform: `translate(${this._origin.join(',')})` });
      this.mark(content, scene);
      content.close();
      this.defs(content);
      const [width, height] = [this._width, this._height];
      const attributes = [
        'xmlns="http://www.w3.org/2000/svg"',
        'class="chart"',
        `viewBox="0 0 ${width} ${height}"`,
        `width="${width}"`,
        `height="${height}"`,
        `style="max-width:${Math.round(width * 1.2)}px"`,
        'role="group"',
        `aria-label="${escape(name)}"`,
      ];
      this._drawing = { svg: trusted(`<svg ${attributes.join(' ')}>${String(content)}</svg>`), width, height };
      return this;
    }

    /** What View.toSVG resolves to. */
    svg(): Drawing {
      return this._drawing;
    }
  }
  internals.renderModule('svg', { headless: ChartRenderer });
}
