// limit: 300 s
/**
 * report.html in a browser: Debian's Chromium, driven by playwright-core. Where Chromium is not installed these tests
 * are skipped and say so; TURNKEY_REQUIRE_BROWSER=1 makes that a failure. TURNKEY_CHROMIUM names another binary.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { type Browser, chromium, type Page } from 'playwright-core';
import t from 'tap';

import { inProject } from '../../src/record/paths.js';
import { readRun } from '../../src/record/store.js';
import { findings } from '../../src/report/findings/index.js';
import { renderHtml } from '../../src/report/html/index.js';
import { harmfulRun, largeRun } from '../support/example-report.js';

const CHROMIUM = process.env['TURNKEY_CHROMIUM'] ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const WIDTHS = [400, 1400] as const;

if (!existsSync(CHROMIUM)) {
  const reason = `no Chromium at ${CHROMIUM}: apt-get install chromium`;
  if ((process.env['TURNKEY_REQUIRE_BROWSER'] ?? '0') !== '0') t.fail(reason);
  else t.test('report.html in a browser', { skip: reason }, (t) => t.end());
} else {
  const folder = mkdtempSync(join(tmpdir(), 'turnkey-report-'));
  const runs = {
    quick: readRun(inProject('test/fixtures/run-quick')),
    large: largeRun(),
    harmful: harmfulRun(),
  };
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, timeout: 0 });
  t.teardown(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });
  for (const [name, run] of Object.entries(runs))
    writeFileSync(join(folder, `${name}.html`), await renderHtml(findings(run)));

  /** Opens a report from disk and keeps what the browser complained of and asked for. */
  const open = async (
    name: keyof typeof runs,
    width: number,
    colorScheme: 'light' | 'dark' = 'light',
    fragment = '',
  ): Promise<{ readonly page: Page; readonly complaints: string[]; readonly requests: string[] }> => {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme, reducedMotion: 'reduce' });
    page.setDefaultTimeout(0); // a slow machine fails nothing
    const complaints: string[] = [];
    const requests: string[] = [];
    const url = `${pathToFileURL(join(folder, `${name}.html`)).href}${fragment}`;
    page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      if (request.url() !== url && !request.url().startsWith('data:')) requests.push(request.url());
    });
    await page.goto(url);
    return { page, complaints, requests };
  };

  for (const name of ['quick', 'large', 'harmful'] as const) {
    for (const width of WIDTHS) {
      for (const scheme of ['light', 'dark'] as const) {
        t.test(
          `${name} run, ${width} px, ${scheme}: opens from disk without complaint, request or overflow`,
          async (t) => {
            const { page, complaints, requests } = await open(name, width, scheme);
            t.same(complaints, []);
            t.same(requests, []);
            t.equal(
              await page.evaluate('document.documentElement.scrollWidth'),
              width,
              'nothing is wider than the window',
            );
            await page.evaluate('document.querySelectorAll("details").forEach((one) => { one.open = true; })');
            t.equal(await page.evaluate('document.documentElement.scrollWidth'), width, 'nor with everything unfolded');
            const beside = await page.evaluate(
              '[...document.querySelectorAll("main *")].filter((one) => !one.closest(".scroll, dialog") && ' +
                'one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.tagName + "." + ' +
                'one.getAttribute("class")).slice(0, 5)',
            );
            t.same(beside, [], 'no element sticks out');
            t.equal(await page.title(), 'Turnkey: what protection keys prevent, and what they cost');
            await page.close();
          },
        );
      }
    }
  }

  /** Contrast by WCAG 2.2, 1.4.3, of text against the first opaque background behind it. */
  const LOW_CONTRAST = `(() => {
    const numbers = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const luminance = (c) => {
      const [r, g, b] = numbers(c).map((v) => linear(v / 255));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
      for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        const n = numbers(c);
        if (n.length === 3 || n[3] === 1) return c;
      }
      return 'rgb(255,255,255)';
    };
    const low = new Set();
    for (const e of document.querySelectorAll('body *')) {
      if (e.closest('dialog, noscript, script, style')) continue;
      if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== '')) continue;
      const svg = e instanceof SVGElement;
      const [a, b] = [luminance(svg ? getComputedStyle(e).fill : getComputedStyle(e).color), luminance(behind(e))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5 && !(svg && ratio >= 3)) {
        const text = e.textContent.trim().slice(0, 30);
        low.add(e.tagName + '.' + e.getAttribute('class') + ' ' + ratio.toFixed(2) + ' ' + text);
      }
    }
    return [...low].slice(0, 10);
  })()`;

  t.test('text has contrast in both themes', async (t) => {
    for (const scheme of ['light', 'dark'] as const) {
      const { page } = await open('large', 1400, scheme);
      t.same(await page.evaluate(LOW_CONTRAST), [], scheme);
      await page.close();
    }
  });

  t.test("the switch overrides the system's scheme, and is remembered", async (t) => {
    const { page } = await open('quick', 1400, 'light');
    const background = (): Promise<unknown> => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const light = await background();
    await page.getByRole('radio', { name: 'dark' }).check({ force: true });
    const dark = await background();
    t.not(dark, light);
    await page.reload();
    t.equal(await background(), dark);
    await page.getByRole('radio', { name: 'light' }).check({ force: true });
    t.equal(await background(), light);
    await page.close();
  });

  for (const width of WIDTHS) {
    t.test(`${width} px: a cell's evidence opens and closes by keyboard, and focus comes back`, async (t) => {
      const { page } = await open('quick', width);
      const cell = page.locator('button[data-cell="emulated--null-pointer--flag"]');
      t.same(
        await page.evaluate(
          '[...document.querySelectorAll("table.matrix button")].filter((one) => !one.dataset.cell || ' +
            '!one.getAttribute("aria-label")).length',
        ),
        0,
        'all cells have their names',
      );
      t.match(await cell.getAttribute('aria-label'), /^flag: hung !, not expected/);
      t.equal(
        await page.locator('button[data-cell="emulated--wild-write--pkeys"]').getAttribute('aria-label'),
        'pkeys: prevented',
      );
      await page.locator('table.matrix button').first().focus();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowRight');
      const reached = await page.evaluate('document.activeElement.dataset.cell');
      t.equal(reached, 'emulated--retained-pointer--flag', 'arrow keys walk through the matrix');
      await cell.focus();
      await page.keyboard.press('Enter');
      const dialog = page.getByRole('dialog');
      await dialog.waitFor();
      t.match(await dialog.getAttribute('aria-label'), /null-pointer under flag/);
      const text = await dialog.innerText();
      t.match(text, /si_code is SEGV_MAPERR/);
      t.match(text, /past the time limit in the aftermath/);
      t.match(text, /trapped: the trap fails the callout/, 'what was expected');
      t.match(text, /foreign_null_write/);
      t.match(
        await dialog.getByRole('link').getAttribute('href'),
        /^\.\.\/\.\.\/experiments\/corruption\/control-flow\/null-pointer\.ts$/,
      );
      t.match(page.url(), /#emulated--null-pointer--flag$/, 'the address leads here again');
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'hidden' });
      t.equal(await page.evaluate('document.activeElement.dataset.cell'), 'emulated--null-pointer--flag');
      await page.close();
    });
  }

  t.test('an address that names a cell opens its evidence, also in a folded lane', async (t) => {
    const { page } = await open('quick', 1400, 'light', '#native--wild-write--none');
    await page.getByRole('dialog').waitFor();
    t.match(await page.getByRole('dialog').innerText(), /bytes changed/);
    await page.close();
  });

  t.test('evidence with text that means harm is text', async (t) => {
    const { page, complaints, requests } = await open('harmful', 1400);
    await page.locator('button[data-cell]').first().click();
    await page.getByRole('dialog').waitFor();
    t.equal(await page.locator('dialog img, dialog script').count(), 0);
    t.match(await page.getByRole('dialog').innerText(), /document\.title="broken"/);
    t.same(complaints, []);
    t.same(requests, []);
    await page.close();
  });

  t.test('a mark tells its numbers on hover and on focus, arrow keys go on to the next', async (t) => {
    const { page } = await open('quick', 1400);
    const marks = page.locator('#picture .mark');
    t.equal(await marks.first().getAttribute('role'), 'img');
    await marks.first().hover();
    const tip = page.locator('#tip');
    t.match(await tip.innerText(), /native lane/);
    await page.mouse.move(0, 0);
    t.equal(await tip.isVisible(), false);
    await marks.first().focus();
    const first = await tip.innerText();
    await page.keyboard.press('ArrowRight');
    t.not(await tip.innerText(), first);
    const stops = await page.locator('#picture svg.chart').first().locator('[tabindex="0"]').count();
    t.equal(stops, 1, 'a chart is one stop');
    await page.close();
  });

  t.test('bars of parts, dots and the model tell their numbers by keyboard, each chart one stop', async (t) => {
    const { page } = await open('large', 400);
    for (const [chart, words] of [
      ['#cost-fault svg.chart[aria-label^="Parts"]', /kernel: delivery and return: .*native lane/],
      ['#cost-model-run .model svg.chart', /by pairs.*model lane/],
      ['#break-even .model svg.chart', /not measured|model/],
    ] as const) {
      const marks = page.locator(chart).first().locator('.mark');
      t.ok((await marks.count()) > 3, chart);
      t.equal(await page.locator(chart).first().locator('[tabindex="0"]').count(), 1);
      await marks.nth(0).focus();
      await page.keyboard.press('ArrowRight');
      const tip = page.locator('#tip');
      t.match(await tip.innerText(), words, chart);
      const box = await tip.boundingBox();
      t.ok(box !== null && box.x >= 0 && box.x + box.width <= 400, 'inside the window', {
        box,
        inner: await page.evaluate(() => [
          innerWidth,
          document.documentElement.clientWidth,
          document.documentElement.scrollWidth,
          visualViewport?.scale,
          visualViewport?.offsetLeft,
        ]),
      });
    }
    await page.close();
  });

  t.test('everything that can be worked has a name, headings do not skip, ids are unique', async (t) => {
    const { page } = await open('large', 1400);
    t.same(
      await page.evaluate(
        '[...document.querySelectorAll("button, a, input, summary, svg.chart")].filter((one) => ' +
          '!(one.getAttribute("aria-label") || one.textContent.trim() || one.closest("label"))).length',
      ),
      0,
    );
    const levels = await page.evaluate<number[]>(
      '[...document.querySelectorAll("h1,h2,h3,h4")].map((one) => Number(one.tagName[1]))',
    );
    t.equal(levels.filter((level) => level === 1).length, 1);
    t.same(
      await page.evaluate(
        '(() => { const ids = [...document.querySelectorAll("[id]")].map((one) => one.id); return ' +
          'ids.filter((id, at) => ids.indexOf(id) !== at); })()',
      ),
      [],
    );
    t.same(
      await page.evaluate(
        '[...document.querySelectorAll("nav a")].filter((one) => ' +
          '!document.querySelector(one.getAttribute("href"))).length',
      ),
      0,
      'contents lead somewhere',
    );
    await page.close();
  });

  t.test('printing unfolds the page and is light', async (t) => {
    const { page } = await open('quick', 1400, 'dark');
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    await page.evaluate('dispatchEvent(new Event("beforeprint"))');
    t.equal(await page.locator('details:not([open])').count(), 0);
    t.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(253, 253, 251)');
    t.equal(await page.locator('nav.toc').isVisible(), false);
    await page.close();
  });

  t.test('the raw data can be saved and is the run', async (t) => {
    const { page } = await open('quick', 1400);
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('a[download]').click()]);
    t.equal(download.suggestedFilename(), 'run.json.gz');
    await page.close();
  });
}
