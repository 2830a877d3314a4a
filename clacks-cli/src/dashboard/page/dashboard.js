(() => {
  const MAX_EVENTS = 100;
  const RETRY = 3000;
  const STATUSES = ['alive', 'new', 'lost', 'dead', 'ignored'];
  const meanings = JSON.parse(document.getElementById('meanings').textContent);
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';

  const heading = element('h1', {}, 'A Clacks tower');
  const about = element('p', { class: 'quiet' });
  const link = element('p', { class: 'link bad', id: 'link' }, 'connecting');
  const seq = element('span', { id: 'seq' });
  const fill = tile('Messages held', 'queue-messages', true);
  const memory = tile('Bytes held', 'queue-bytes', true);
  const hops = tile('Hops per second', 'hops');
  const peers = tile('Peers', 'peers');
  const counts = element('p', { class: 'counts' });
  peers.dd.append(counts);
  const links = tile('Open links', 'links');
  const store = tile('Pieces of files held', 'store-held');
  const troubles = element('ul');
  const stale = element('p', { class: 'stale' });
  const noTroubles = element('p', { class: 'quiet' }, 'None.');
  const rows = element('tbody', { id: 'towers' });
  const leftOut = element('p', { class: 'quiet' });
  const events = element('ol');
  const counters = element('tbody');

  function tile(name, id, hasMeter) {
    const value = element('div', { class: 'value', id });
    const note = element('div', { class: 'quiet' });
    const dd = element('dd', {}, value);
    const limits = { min: 0, max: 1, low: 0.8, high: 0.95, optimum: 0 };
    const meter = element('meter', { ...limits, 'aria-label': name });
    if (hasMeter) dd.append(meter);
    dd.append(note);
    const box = element('div', { class: 'card tile' }, element('dt', {}, name), dd);
    return { box, value, note, meter, dd };
  }

  function section(id, name, ...children) {
    const head = element('h2', { id: `${id}-name` }, name);
    const attributes = { class: 'card', id, 'aria-labelledby': `${id}-name` };
    return element('section', attributes, head, ...children);
  }

  function head(...names) {
    const cells = names.map(([name, kind]) =>
      element('th', { scope: 'col', ...(kind && { class: kind }) }, name),
    );
    return element('thead', {}, element('tr', {}, ...cells));
  }

  const key = element(
    'p',
    { class: 'key', 'aria-hidden': 'true' },
    element('span', {}, element('i', { class: 'in' }), 'comes in'),
    element('span', {}, element('i', { class: 'out' }), 'goes out'),
  );
  const scroll = (label, table) =>
    element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, table);
  document.body.append(
    element('a', { class: 'skip', href: '#towers-list' }, 'To the table of peers'),
    element(
      'main',
      {},
      element('header', {}, element('div', {}, heading, about), link),
      element('dl', { class: 'tiles' }, fill.box, memory.box, hops.box, peers.box, links.box, store.box),
      // The only part that screen readers announce by themselves.
      section(
        'troubles',
        'Troubles',
        element('div', { 'aria-live': 'polite' }, stale, noTroubles, troubles),
      ),
      element(
        'div',
        { class: 'halves' },
        section('ring', 'Peers around this tower', ring.picture, key),
        section(
          'towers-list',
          'Peers',
          scroll(
            'Peers',
            element(
              'table',
              {},
              head(['Address'], ['Status'], ['For', 'number'], ['In', 'number'], ['Out', 'number']),
              rows,
            ),
          ),
          leftOut,
        ),
      ),
      plots.place,
      element(
        'div',
        { class: 'halves' },
        section('events', 'What happens', scroll('What happens', events)),
        section(
          'counters',
          'Counters since the start',
          scroll(
            'Counters',
            element('table', {}, head(['Counter'], ['Value', 'number'], ['Meaning']), counters),
          ),
        ),
      ),
    ),
  );
  document.getElementById('towers-list').tabIndex = -1;

  // Messages exchanged with each peer since the page was opened.
  const traffic = new Map();
  let lastEvent = 0;
  let lastTime = null;

  function show(state) {
    const { status } = state;
    lastTime = status.time;
    document.title = `${status.address}, a Clacks tower`;
    setText(heading, status.address);
    const identity = status.fingerprint
      ? `, identity ${status.fingerprint.slice(0, 16)}…`
      : ', without TLS';
    about.title = status.fingerprint ?? '';
    about.replaceChildren(
      `Network ${status.network}, up for ${duration(status.uptime_ms)}, version ${status.version}${identity}, event `,
      seq,
    );
    setText(seq, String(status.seq));
    const { queue, rates } = status;
    for (const [one, value, max, format] of [
      [fill, queue.messages, queue.max_messages, plain],
      [memory, queue.bytes, queue.max_bytes, size],
    ]) {
      setText(one.value, format(value));
      one.value.dataset.value = value;
      one.meter.value = value / max;
      setText(
        one.note,
        `of at most ${format(max)} (${plain((100 * value) / max, numbers)}\u202f%)`,
      );
    }
    setText(
      hops.value,
      `${plain(rates.received_per_s, numbers)}\u00a0in, ${plain(rates.delivered_per_s, numbers)}\u00a0out`,
    );
    setText(hops.note, `in the last ${duration(rates.over_ms)}`);
    setText(peers.value, plain(STATUSES.reduce((sum, one) => sum + status.peers[one], 0)));
    keep(
      counts,
      STATUSES.filter((one) => status.peers[one] > 0),
      (one) => one,
      (one) =>
        element(
          'span',
          {},
          element('i', { class: `dot ${one}`, 'aria-hidden': 'true' }),
          element('b'),
        ),
      (span, one) => {
        span.dataset.count = status.peers[one];
        setText(span.children[1], `${plain(status.peers[one])} ${one}`);
      },
    );
    setText(links.value, plain(status.links));
    setText(links.note, `of at most ${plain(status.max_links)}`);
    store.box.hidden = !status.store;
    if (status.store) {
      const { held, published, fetched, refused, relayed } = status.store;
      setText(store.value, plain(held));
      setText(
        store.note,
        `${plain(published)} came from put, ${plain(fetched)} went to get, ${plain(refused)} refused; ${plain(relayed)} requests passed on`,
      );
    }
    showTroubles(status);
    for (const [address, { received, delivered }] of Object.entries(state.traffic)) {
      const before = traffic.get(address) ?? { received: 0, delivered: 0 };
      traffic.set(address, {
        received: before.received + received,
        delivered: before.delivered + delivered,
      });
    }
    const known = new Set(state.towers.map((tower) => tower.address));
    for (const address of traffic.keys()) if (!known.has(address)) traffic.delete(address);
    const towers = state.towers.map((tower) => ({
      ...tower,
      ...(traffic.get(tower.address) ?? { received: 0, delivered: 0 }),
    }));
    showTowers(towers, state.towers_left_out);
    ring.draw(state, towers);
    plots.observe(status);
    showEvents(state);
    keep(
      counters,
      [
        ...Object.entries(status.stats),
        ...Object.entries(status.store ?? {}).map(([name, value]) => [`store_${name}`, value]),
      ],
      ([name]) => name,
      ([name]) =>
        element(
          'tr',
          {},
          element('th', { scope: 'row' }, name.replaceAll('_', ' ')),
          element('td', { class: 'number' }),
          element('td', { class: 'quiet' }, meanings[name] ?? ''),
        ),
      (row, [, value]) => setText(row.children[1], plain(value)),
    );
  }

  function showTroubles(status) {
    const all = [...status.troubles].reverse();
    setText(stale, '');
    noTroubles.hidden = all.length > 0;
    keep(
      troubles,
      all,
      ({ peer, what }) => `${peer} ${what}`,
      ({ peer, what, remedy }) =>
        element(
          'li',
          {},
          element('strong', {}, peer ? `${peer}: ${what}` : what),
          element('div', {}, remedy),
          // Its changes are not announced.
          element('div', { class: 'quiet', 'aria-live': 'off' }),
        ),
      (item, { time, count }) =>
        setText(
          item.children[2],
          `${clockTime(time)}${count > 1 ? `, ${plain(count)} times` : ''}`,
        ),
    );
  }

  function showTowers(towers, others) {
    keep(
      rows,
      towers,
      ({ address }) => address,
      ({ address }) =>
        element(
          'tr',
          {},
          element('th', { scope: 'row' }, address),
          element(
            'td',
            { class: 'status' },
            element('i', { 'aria-hidden': 'true' }),
            element('span'),
          ),
          ...[0, 1, 2].map(() => element('td', { class: 'number' })),
        ),
      (row, { status, since_ms, received, delivered }) => {
        row.dataset.status = status;
        row.children[1].children[0].className = `dot ${status}`;
        setText(row.children[1].children[1], status);
        setText(row.children[2], duration(since_ms));
        setText(row.children[3], plain(received));
        setText(row.children[4], plain(delivered));
      },
    );
    const hidden = Math.max(0, towers.length - ring.MAX_DOTS) + others;
    const parts = [];
    if (!towers.length) parts.push('This tower knows no other one yet.');
    else parts.push('In and out count messages since this page was opened.');
    if (hidden) parts.push(`The ring leaves out ${plain(hidden)} of them.`);
    if (others) parts.push(`The table leaves out ${plain(others)}.`);
    setText(leftOut, parts.join(' '));
  }

  function showEvents(state) {
    const fresh = state.events.filter((event) => event.seq > lastEvent);
    if (state.events_left_out && lastEvent)
      events.prepend(
        line({
          event: 'missed',
          detail: `${state.events_left_out} events`,
          time: state.status.time,
        }),
      );
    for (const event of fresh) events.prepend(line(event));
    lastEvent = Math.max(lastEvent, ...fresh.map((event) => event.seq));
    while (events.children.length > MAX_EVENTS) events.lastChild.remove();
  }

  function line({ time, event, tower, detail }) {
    const text = [tower, detail].filter(Boolean).join(': ');
    return element(
      'li',
      {},
      element('time', { datetime: time }, clockTime(time)),
      element('span', { class: event }, event),
      element('span', {}, text),
    );
  }

  function connected(isConnected, words) {
    if (!isConnected) {
      const since = lastTime ? ` The values are those of ${clockTime(lastTime)}.` : '';
      setText(stale, words + since);
      noTroubles.hidden = true;
    }
    setText(link, words);
    link.className = isConnected ? 'link' : 'link bad';
  }

  // Reads server-sent events. `EventSource` cannot send the token in a header.
  async function read() {
    const answer = await fetch('/events', {
      headers: { Authorization: `Bearer ${token}` },
      cache: 'no-store',
      credentials: 'omit',
    });
    if (!answer.ok) return (await answer.text()).trim();
    connected(true, 'live');
    lastEvent = 0;
    events.replaceChildren();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return 'The tower has ended, or this page was too slow.';
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      for (const part of parts) take(part);
    }
  }

  function take(part) {
    let [name, data] = ['', ''];
    for (const one of part.split('\n')) {
      if (one.startsWith('event: ')) name = one.slice(7);
      if (one.startsWith('data: ')) data = one.slice(6);
    }
    if (name === 'history') plots.start(JSON.parse(data));
    if (name === 'state') show(JSON.parse(data));
  }

  async function run() {
    plots.build();
    plots.watchSize();
    for (;;) {
      let why;
      try {
        why = await read();
      } catch {
        why = 'The tower cannot be reached.';
      }
      connected(false, why);
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }

  addEventListener('hashchange', () => location.reload());
  run();
})();
