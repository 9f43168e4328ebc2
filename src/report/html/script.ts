/**
 * What the page adds where scripts run: the theme switch remembers, and marks show their numbers in a box. Arrow keys
 * walk through a chart's marks and the matrix's cells. A cell's address opens its evidence, and everything unfolds for
 * printing. Without scripts the page says the same.
 */
export const SCRIPT = `'use strict';
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const stored = {
    get: () => {
      try {
        return localStorage.getItem('turnkey-theme');
      } catch {
        return null;
      }
    },
    set: (v) => {
      try {
        localStorage.setItem('turnkey-theme', v);
      } catch {
        /* a private window */
      }
    },
  };
  const setTheme = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  const theme = document.querySelector('.theme');
  theme.hidden = false;
  const known = stored.get();
  setTheme(known);
  for (const input of all('input', theme)) {
    input.checked = input.value === (known ?? 'auto');
    input.addEventListener('change', () => {
      setTheme(input.value);
      stored.set(input.value);
    });
  }

  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  tip.setAttribute('aria-hidden', 'true');
  document.body.append(tip);
  const show = (mark) => {
    tip.textContent = mark.getAttribute('aria-label');
    tip.hidden = false;
    const at = mark.getBoundingClientRect();
    tip.style.left = tip.style.top = '0'; // where it was last, near an edge, it would be measured narrower
    const size = tip.getBoundingClientRect();
    const x = Math.min(Math.max(8, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const y = at.top - size.height - 8 > 4 ? at.top - size.height - 8 : at.bottom + 8;
    tip.style.left = x + 'px';
    tip.style.top = y + 'px';
  };
  const hide = () => {
    tip.hidden = true;
  };
  const step = (list, from, by) => {
    const next = list[(from + by + list.length) % list.length];
    if (next) next.focus();
  };
  for (const chart of all('svg.chart')) {
    const marks = all('.mark', chart);
    marks.forEach((mark, at) => {
      const title = mark.querySelector('title');
      if (title) {
        mark.setAttribute('aria-label', title.textContent);
        title.remove();
      } // one box, not two
      mark.addEventListener('pointerenter', () => show(mark));
      mark.addEventListener('pointerleave', hide);
      mark.addEventListener('focus', () => {
        marks.forEach((other) => other.setAttribute('tabindex', other === mark ? '0' : '-1'));
        show(mark);
      });
      mark.addEventListener('blur', hide);
      mark.addEventListener('keydown', (event) => {
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === 'Escape') hide();
        if (by === undefined) return;
        event.preventDefault();
        step(marks, at, by);
      });
    });
  }
  addEventListener(
    'scroll',
    () => {
      // also when the keyboard goes to a mark out of sight: its numbers go along
      const focused = document.activeElement && document.activeElement.closest('.mark');
      if (focused && !tip.hidden) show(focused);
      else hide();
    },
    { passive: true },
  );

  for (const table of all('table.matrix')) {
    const columns = all('th[data-column]', table);
    for (const row of all('tr[data-case]', table))
      all('td', row).forEach((cell, at) => {
        const button = cell.querySelector('button');
        if (!button) return;
        // as slug() in markup.ts
        button.dataset.cell ??= [table.dataset.lane, row.dataset.case, columns[at].dataset.column].join('--');
        if (!button.hasAttribute('aria-label'))
          button.setAttribute(
            'aria-label',
            columns[at].textContent.trim() + ': ' + button.querySelector('b').textContent,
          );
      });
    const rows = all('tr', table)
      .map((row) => all('td', row).map((cell) => cell.querySelector('button')))
      .filter((row) => row.some(Boolean));
    const buttons = rows.flat().filter(Boolean);
    buttons.forEach((button, at) => {
      button.tabIndex = at === 0 ? 0 : -1;
    });
    table.addEventListener('focusin', (event) => {
      if (buttons.includes(event.target)) for (const each of buttons) each.tabIndex = each === event.target ? 0 : -1;
    });
    table.addEventListener('keydown', (event) => {
      const y = rows.findIndex((row) => row.includes(event.target));
      if (y < 0) return;
      const x = rows[y].indexOf(event.target);
      const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [
        0, 0,
      ];
      if (dx === 0 && dy === 0) return;
      event.preventDefault();
      for (
        let ny = y + dy, nx = x + dx;
        ny >= 0 && ny < rows.length && nx >= 0 && nx < rows[y].length;
        ny += dy, nx += dx
      ) {
        if (rows[ny][nx]) {
          rows[ny][nx].focus();
          break;
        }
      }
    });
  }

  const reveal = (element) => {
    for (let at = element; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
  };
  const dialog = document.getElementById('evidence');
  let articles;
  const unpack = async () => {
    const bytes = Uint8Array.from(atob(document.getElementById('evidence-data').textContent), (c) => c.charCodeAt(0));
    const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
    const template = document.createElement('template');
    template.innerHTML = text;
    return new Map(all('article', template.content).map((article) => [article.id, article]));
  };
  const open = async (id) => {
    articles ??= unpack();
    const article = (await articles).get(id);
    if (!article) return;
    dialog.querySelector('div').replaceChildren(article.cloneNode(true));
    dialog.setAttribute('aria-label', 'Evidence: ' + article.querySelector('h3').textContent);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    if (location.hash !== '#' + id) history.replaceState(null, '', '#' + id);
  };
  if (dialog) {
    for (const button of all('button[data-cell]'))
      button.addEventListener('click', () => {
        void open(button.dataset.cell);
      });
    dialog.querySelector('.close').addEventListener('click', () => dialog.close());
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener('close', () => history.replaceState(null, '', '#matrix'));
  }
  const follow = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const button = id === '' ? null : document.querySelector('button[data-cell="' + CSS.escape(id) + '"]');
    if (button) {
      reveal(button);
      button.scrollIntoView({ block: 'center' });
      button.focus();
      void open(id);
    } else reveal(document.getElementById(id));
  };
  addEventListener('hashchange', follow);
  follow();

  let folded = [];
  addEventListener('beforeprint', () => {
    folded = all('details:not([open])');
    for (const details of folded) details.open = true;
  });
  addEventListener('afterprint', () => {
    for (const details of folded) details.open = false;
  });
})();
`;
