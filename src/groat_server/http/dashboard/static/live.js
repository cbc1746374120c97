// The live page: rows come in by htmx; this keeps them few and once each, adds up the last minute, and can pause.
(() => {
  'use strict';

  const ROWS_MAX = 200;
  const MINUTE = 60_000;
  const rows = document.getElementById('live-rows');
  const state = document.getElementById('live-state');
  const button = document.getElementById('live-pause');
  const known = new Set();
  let minute = []; // [when, credits] of each event of the last minute
  let passedOver = []; // [when, how many]
  let held = []; // messages that came while it was paused
  let heldRows = 0;
  let paused = false;

  const note = (row) => {
    const at = performance.now() - Number(row.dataset.age ?? 0) * 1000;
    if (row.dataset.skipped) passedOver.push([at, Number(row.dataset.skipped)]);
    if (row.dataset.credits) minute.push([at, Number(row.dataset.credits)]);
  };

  // Before anything is painted: a row that is there already goes again, and so do the oldest.
  const tidy = (added) => {
    for (const row of added) {
      if (row.id && known.has(row.id)) row.remove();
      else note(row);
      if (row.id) known.add(row.id);
    }
    while (rows.rows.length > ROWS_MAX) {
      const last = rows.rows[rows.rows.length - 1];
      known.delete(last.id);
      last.remove();
    }
    document.getElementById('live-none').hidden = rows.rows.length > 0;
    show();
  };

  const put = (name, value, shown) => {
    const data = document.createElement('data');
    data.value = String(value);
    data.textContent = shown;
    document.querySelector(`[data-live="${name}"]`).replaceChildren(data);
  };

  const show = () => {
    const since = performance.now() - MINUTE;
    minute = minute.filter(([at]) => at > since);
    passedOver = passedOver.filter(([at]) => at > since);
    const credits = Number(minute.reduce((sum, [, each]) => sum + each, 0).toPrecision(12));
    const more = passedOver.reduce((sum, [, each]) => sum + each, 0);
    put('events', minute.length + more, (minute.length + more).toLocaleString('en'));
    put('credits', credits, credits.toLocaleString('en', { maximumFractionDigits: credits < 1 ? 4 : 2 }));
    document.querySelector('[data-live="more"]').textContent = more ? `${more.toLocaleString('en')} came too fast to be shown` : 'of those shown here';
  };

  const say = (text, bad) => {
    state.textContent = text;
    state.dataset.variant = bad ? 'destructive' : 'outline';
  };

  const count = (text) => (text.match(/<tr id="feed-/g) ?? []).length;

  const toggle = async () => {
    paused = !paused;
    button.setAttribute('aria-pressed', String(paused));
    button.textContent = paused ? 'Resume' : 'Pause';
    const messages = held;
    held = [];
    heldRows = 0;
    for (const text of messages) {
      await htmx.swap({ sourceElement: rows, target: rows, swap: 'afterbegin', text });
    }
  };

  const hold = (text) => {
    held.push(text);
    heldRows += count(text);
    let kept = held.reduce((sum, each) => sum + count(each), 0);
    while (held.length > 1 && kept - count(held[0]) >= ROWS_MAX) kept -= count(held.shift());
    button.textContent = `Resume (${heldRows.toLocaleString('en')} more)`;
  };

  new MutationObserver((changes) => {
    const added = changes.flatMap((change) => [...change.addedNodes]).filter((node) => node.nodeName === 'TR');
    if (added.length) tidy(added);
  }).observe(rows, { childList: true });

  let isFirst = true; // the first message has what the page has, unless something came between
  rows.addEventListener('htmx:sse:before:message', (event) => {
    if (paused && !isFirst) {
      event.preventDefault();
      hold(event.detail.message.data);
    }
    isFirst = false;
  });
  rows.addEventListener('htmx:sse:after:connection', () => say('live', false));
  rows.addEventListener('htmx:sse:before:connection', (event) => {
    if (event.detail.connection.attempt > 0) say('connection lost, trying again', true);
  });
  rows.addEventListener('htmx:sse:error', (event) => {
    say(event.detail.status === 401 ? 'you are signed out' : 'connection lost, trying again', true);
  });
  rows.addEventListener('htmx:sse:close', () => say('not connected', true));

  button.addEventListener('click', toggle);
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'p' || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('input, select, textarea, [contenteditable]') || document.querySelector('dialog[open]')) return;
    toggle();
  });

  for (const row of [...rows.rows]) {
    known.add(row.id);
    note(row);
  }
  show();
  setInterval(show, 1000);

  // htmx begins in a task of its own, which may come before its extension is there: what it listens to is told it after.
  setTimeout(() => {
    rows.setAttribute('hx-sse:connect', rows.dataset.stream);
    htmx.process(rows);
  });
})();
