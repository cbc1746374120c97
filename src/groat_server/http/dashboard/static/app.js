// What all pages do in the browser. Every page works by its links and its address; this makes it quicker to use.
(() => {
  'use strict';

  // Text becomes HTML in two places: htmx, which puts in what this server has rendered, and ECharts, which empties its
  // elements. Everything else that tries is refused by the browser (Trusted Types).
  if (window.trustedTypes) {
    const fromServer = trustedTypes.createPolicy('htmx', { createHTML: (text) => text });
    trustedTypes.createPolicy('default', { createHTML: (text) => (text === '' || text === 'null' ? '' : null) });
    htmx.registerExtension('trusted', { init: (api) => api.initSecurity(fromServer) });
  }

  const YEAR = 365 * 24 * 3600;
  const remember = (name, value) => {
    document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR}; samesite=strict`;
  };

  const root = document.documentElement;
  const paint = (dark) => {
    root.classList.toggle('dark', dark);
    document.dispatchEvent(new CustomEvent('groat:theme'));
  };
  const toggleTheme = () => {
    root.dataset.theme = root.classList.contains('dark') ? 'light' : 'dark';
    remember('groat_theme', root.dataset.theme);
    paint(root.dataset.theme === 'dark');
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (system) => {
    if (root.dataset.theme === 'system') paint(system.matches);
  });

  // Between UTC and the browser's own zone. The address says it too, so that it can be handed on.
  const toggleZone = (current) => {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const zone = current === 'UTC' ? own : 'UTC';
    remember('groat_zone', zone);
    const there = new URL(location.href);
    there.searchParams.set('tz', zone);
    location.assign(there);
  };

  const toggleMenu = (button) => {
    const open = button.getAttribute('aria-expanded') !== 'true';
    button.setAttribute('aria-expanded', String(open));
    document.getElementById(button.getAttribute('aria-controls')).classList.toggle('open', open);
  };

  const open = (id) => document.getElementById(id)?.showModal();

  document.addEventListener('click', (event) => {
    const found = (selector) => event.target.closest(selector);
    if (found('[data-theme-button]')) toggleTheme();
    else if (found('[data-zone]')) toggleZone(found('[data-zone]').dataset.zone);
    else if (found('[data-menu]')) toggleMenu(found('[data-menu]'));
    else if (found('[data-dialog]')) open(found('[data-dialog]').dataset.dialog);
    else if (found('[data-panel]')) open('panel');
    else if (found('[data-close]')) found('dialog').close();
    else if (found('[data-copy]')) copy(found('[data-copy]'));
    else if (event.target.matches('dialog')) event.target.close();
    for (const menu of document.querySelectorAll('details.person[open]')) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // What was in the panel goes with it: nobody fills in the form of the act before, and no token stays behind.
  document.addEventListener('close', (event) => {
    if (event.target.id === 'panel') document.getElementById('panel-body').replaceChildren();
  }, true);

  const copy = async (button) => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = 'Copied';
  };

  // `/` searches, `g` and a letter goes to a page, `?` tells the keys.
  let before = '';
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    if (event.target.matches('input, select, textarea, [contenteditable]')) return;
    const place = before === 'g' && document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    before = event.key;
    if (place) place.click();
    else if (event.key === '/') document.querySelector('input[type="search"]')?.focus();
    else if (event.key === '?') open('keys');
    else return;
    event.preventDefault();
  });

  // A selection in a filter is a change of the address.
  document.addEventListener('change', (event) => {
    if (event.target.matches('form[data-filters] select, form[data-filters] input[type="date"]')) event.target.form.requestSubmit();
  });

  // htmx begins in a task of its own, queued before this one.
  document.addEventListener('DOMContentLoaded', () => {
    setTimeout(() => document.querySelector('form[data-submit-at-once]')?.requestSubmit());
  });
})();
