'use strict';

(() => {
  const { map } = run;
  if (!map || !map.towers) return;

  const SPEEDS = [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000];
  const ENDS = ['confirmed', 'returned', 'retried', 'sender down'];
  const CONFIRMED = 0;
  const STATES = ['running', 'paused', 'leaving', 'down'];
  // In seconds of the viewer: how long an accepted and a failed hand-over stay visible.
  const TRAIL = 0.35;
  const FAILED = 1.5;
  const MOST_DRAWN = 1500;
  const MOST_ROWS = 9;

  const events = run.marks
    .map(([at, what, tower]) => ({ at, text: tower === null ? what : `${what}, tower ${tower}` }))
    .concat(
      run.summary.violations.map(({ at_s, tower, message, check }) => ({
        at: at_s,
        bad: true,
        tower,
        message,
        text: `violation: ${check}${tower === null ? '' : `, tower ${tower}`}${message === null ? '' : `, message ${message}`}`,
      })),
    )
    .sort((a, b) => a.at - b.at);
  const states = Array.from({ length: map.towers }, () => []);
  for (const [at, tower, state] of map.states) states[tower]?.push([at, state]);
  const hops = new Map();
  map.message.forEach((message, index) => {
    if (!hops.has(message)) hops.set(message, []);
    hops.get(message).push(index);
  });
  const changesOf = (wanted) => map.held.filter((change) => change[2] === wanted);
  const wasAccepted = (index) => map.accepted[index] !== null || map.end[index] === CONFIRMED;
  // Returns how long a hand-over was on its way, if both times are known.
  const way = (index) =>
    map.accepted[index] ?? Math.min(map.took[index], map.ended[index] ?? map.took[index]);
  const longest = map.took.reduce(
    (most, _, index) => Math.max(most, way(index), map.ended[index] ?? 0),
    0,
  );

  let tower = null;
  let message = null;
  let hovered = null;
  let holders = [];
  let spots = [];
  let playing = null;
  let told = 0;

  const button = (text, onclick, label = text) =>
    element('button', { type: 'button', onclick, 'aria-label': label, title: label }, text);
  const pair = (name, go) =>
    element(
      'span',
      { class: 'pair' },
      button('◀', () => go(-1), `previous ${name}`),
      name,
      button('▶', () => go(1), `next ${name}`),
    );
  const canvas = element('canvas', {
    role: 'img',
    'aria-label': 'Towers on a ring and messages between them',
  });
  const play = button('Play', () => (playing === null ? start() : stop()));
  const speed = element(
    'select',
    { 'aria-label': 'speed' },
    ...SPEEDS.map((value) =>
      element(
        'option',
        { value },
        value < 1
          ? `${Math.round(1 / value)} times slower`
          : value === 1
            ? 'real time'
            : `${plain(value)} times faster`,
      ),
    ),
  );
  const slider = element('input', {
    type: 'range',
    min: 0,
    max: run.end,
    step: 'any',
    'aria-label': 'time',
    oninput: () => clock.set(Number(slider.value)),
  });
  const time = element('output', { class: 'time' });
  const state = element('p', { class: 'state' });
  const recent = element('ol', { class: 'events' });
  const towerInput = element('input', {
    type: 'number',
    min: 0,
    max: map.towers - 1,
    placeholder: 'none',
    oninput: () => chooseTower(numberIn(towerInput)),
  });
  const towerInfo = element('div');
  const messageInput = element('input', {
    type: 'number',
    min: 0,
    placeholder: 'none',
    oninput: () => chooseMessage(numberIn(messageInput)),
  });
  const messageInfo = element('div');

  const section = document.getElementById('map');
  section.hidden = false;
  section.append(
    element('h2', {}, 'Map'),
    element(
      'p',
      { class: 'quiet' },
      'Towers stand on a ring, and dots between them are messages on the wire. Press Play, click a tower, or type the number of a message.',
    ),
    element(
      'div',
      { class: 'stage' },
      element('div', {}, canvas, legend()),
      element(
        'div',
        { class: 'panel' },
        element('div', { class: 'controls' }, play, speed, pair('event', jump)),
        slider,
        time,
        state,
        element('h3', {}, 'Latest events'),
        recent,
        element('h3', {}, element('label', {}, 'Tower ', towerInput)),
        towerInfo,
        element('h3', {}, element('label', {}, 'Message ', messageInput), pair('hop', jumpHop)),
        messageInfo,
      ),
      element('p', { class: 'quiet' }, ...coverage()),
    ),
  );

  function numberIn(input) {
    return input.value === '' || !input.checkValidity() ? null : Number(input.value);
  }

  const isComplete = (at) =>
    map.closeUps.some(([from, until]) => from <= at && at <= (until ?? Infinity));

  function coverage() {
    const parts = [];
    if (map.sampledEvery > 1) {
      parts.push('The record holds all hand-overs from ');
      map.closeUps.forEach(([from, until], index) => {
        if (index) parts.push(', ');
        parts.push(
          button(duration(from, 0.001), () => clock.set(from), `go to ${duration(from, 0.001)}`),
          ` to ${until === null ? 'the end' : duration(until, 0.001)}`,
        );
      });
      parts.push(
        `, and at other times those of messages whose number is a multiple of ${plain(map.sampledEvery)}.`,
      );
    }
    if (map.leftOut)
      parts.push(` ${plain(map.leftOut)} changes or partitions had no room in the record.`);
    return parts;
  }

  function legend() {
    const dot = (style, text) => element('span', {}, element('i', style), text);
    const honest = roles.length ? 'tower without a role' : 'tower';
    return element(
      'p',
      { class: 'key dots' },
      dot({ style: 'background: var(--green)' }, honest),
      ...roles.map((role) => dot({ style: `background: var(--${roleColour(role)})` }, role)),
      dot({ class: 'paused' }, 'paused'),
      dot({ class: 'leaving' }, 'leaving'),
      dot({ class: 'down' }, 'down'),
      dot({ class: 'message' }, 'message on the wire'),
      dot({ class: 'failed' }, 'not accepted'),
      dot({ class: 'followed' }, 'followed message and its holders'),
    );
  }

  function stateOf(one, at) {
    const index = lastUpTo(states[one], at, (change) => change[0]);
    return index < 0 ? 'down' : states[one][index][1];
  }

  // The intervals during which towers hold a message.
  function holdersOf(wanted) {
    const steps = [];
    for (const index of hops.get(wanted) ?? []) {
      const departs = map.departs[index];
      // The record of the message may begin later than the message.
      steps.push([departs, 'hold', map.from[index]]);
      if (wasAccepted(index)) steps.push([departs + way(index), 'hold', map.to[index]]);
      if (map.end[index] === CONFIRMED)
        steps.push([departs + map.ended[index], 'forget', map.from[index]]);
    }
    // After the hand-overs of the same moment: a copy is kept when its hand-over is confirmed.
    for (const [at, one, , kind] of changesOf(wanted))
      steps.push([at, ['swallowed', 'dropped'].includes(kind) ? 'forget' : 'hold', one]);
    const known = new Set(steps.map(([, , one]) => one));
    for (const [at, one, what] of map.states)
      if (what === 'down' && known.has(one)) steps.push([at, 'forget', one]);
    steps.sort((a, b) => a[0] - b[0]);
    const open = new Map();
    const intervals = [];
    for (const [at, what, one] of steps) {
      if (what === 'hold' && !open.has(one)) {
        const interval = { tower: one, from: at, until: Infinity };
        open.set(one, interval);
        intervals.push(interval);
      } else if (what === 'forget' && open.has(one)) {
        open.get(one).until = at;
        open.delete(one);
      }
    }
    return intervals;
  }

  const holding = (at) =>
    holders.filter(({ from, until }) => from <= at && at < until).map((one) => one.tower);

  function partitionsAt(at) {
    return map.partitions.filter(({ from, until }) => from <= at && at < (until ?? Infinity));
  }

  // Towers that reach each other stand together on an arc.
  function groupsAt(at) {
    const sides = partitionsAt(at).map(({ inside }) => new Set(inside));
    const groups = new Map();
    for (let one = 0; one < map.towers; one += 1) {
      const side = sides.map((inside) => Number(inside.has(one))).join('');
      if (!groups.has(side)) groups.set(side, []);
      groups.get(side).push(one);
    }
    return [...groups.values()];
  }

  function arrange(groups, size) {
    const split = groups.length > 1;
    const gap = split ? 0.05 : 0;
    const push = split ? 12 : 0;
    const radius = size / 2 - 26 - push;
    const places = new Array(map.towers);
    let angle = -Math.PI / 2 + gap * Math.PI;
    for (const group of groups) {
      const arc = (group.length / map.towers) * 2 * Math.PI * (1 - gap * groups.length);
      const middle = angle + arc / 2;
      group.forEach((one, number) => {
        const turned = angle + (arc * (number + 0.5)) / group.length;
        places[one] = [
          size / 2 + Math.cos(turned) * radius + Math.cos(middle) * push,
          size / 2 + Math.sin(turned) * radius + Math.sin(middle) * push,
          turned,
        ];
      });
      angle += arc + gap * 2 * Math.PI;
    }
    return places;
  }

  function draw() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext('2d');
    const side = Math.min(width, height);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.translate((width - side) / 2, (height - side) / 2);
    const groups = groupsAt(clock.now);
    spots = arrange(groups, side);
    const onTheWire = drawHandOvers(pen);
    const held = message === null ? [] : holding(clock.now);
    if (message !== null) drawPath(pen);
    drawTowers(pen, side, held);
    if (playing === null || performance.now() - told > 100) tell(onTheWire, groups, held);
  }

  function drawHandOvers(pen) {
    const { now } = clock;
    const [trail, failed] = [TRAIL * Number(speed.value), FAILED * Number(speed.value)];
    const visible = [];
    let onTheWire = 0;
    for (
      let index = lastUpTo(map.departs, now);
      index >= 0 && map.departs[index] >= now - longest - failed;
      index -= 1
    ) {
      const since = now - map.departs[index];
      const late = since - way(index);
      const isFailed = late >= 0 && !wasAccepted(index);
      if (late < 0) onTheWire += 1;
      if (late < (isFailed ? failed : trail) && visible.length < MOST_DRAWN)
        visible.push([index, since, late, isFailed]);
    }
    const paints = { blue: colour('blue'), red: colour('red'), pink: colour('pink') };
    // Many lines hide the dots.
    const faint = Math.min(1, 12 / Math.sqrt(visible.length + 1));
    for (const [index, since, late, isFailed] of visible) {
      const [a, b] = [spots[map.from[index]], spots[map.to[index]]];
      const isFollowed = map.message[index] === message;
      const whole = map.accepted[index] ?? map.took[index];
      const share = whole > 0 ? Math.min(1, Math.min(since, way(index)) / whole) : 1;
      const [x, y] = [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
      const fade = late < 0 ? 1 : 1 - late / (isFailed ? failed : trail);
      pen.strokeStyle = pen.fillStyle = isFailed
        ? paints.red
        : isFollowed
          ? paints.pink
          : paints.blue;
      pen.lineWidth = isFollowed ? 2.5 : 1.2;
      pen.globalAlpha = (isFollowed ? 1 : 0.45 * faint) * fade;
      line(pen, a, [x, y]);
      pen.globalAlpha = fade;
      if (isFailed) {
        pen.lineWidth = 2;
        line(pen, [x - 4, y - 4], [x + 4, y + 4]);
        line(pen, [x - 4, y + 4], [x + 4, y - 4]);
      } else if (late < 0) {
        circle(pen, x, y, isFollowed ? 6 : 3);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    return onTheWire;
  }

  // The latest hops of the followed message.
  function drawPath(pen) {
    const all = (hops.get(message) ?? []).filter(
      (index) => map.departs[index] + way(index) <= clock.now && wasAccepted(index),
    );
    pen.strokeStyle = colour('pink');
    pen.lineWidth = 1.5;
    all.slice(-8).forEach((index, number, latest) => {
      pen.globalAlpha = 0.15 + 0.6 * ((number + 1) / latest.length);
      line(pen, spots[map.from[index]], spots[map.to[index]]);
    });
    pen.globalAlpha = 1;
  }

  function line(pen, [fromX, fromY], [toX, toY]) {
    pen.beginPath();
    pen.moveTo(fromX, fromY);
    pen.lineTo(toX, toY);
    pen.stroke();
  }

  function circle(pen, x, y, radius) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
  }

  function drawTowers(pen, side, held) {
    const usual = Math.max(2, Math.min(7, (side * 1.1) / map.towers));
    const holdersNow = new Set(held);
    const rings = { paused: colour('orange'), leaving: colour('purple') };
    const [ink, quiet, card, pink] = ['ink', 'quiet', 'card', 'pink'].map(colour);
    pen.font = '10px system-ui, sans-serif';
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    spots.forEach(([x, y, turned], one) => {
      const now = stateOf(one, clock.now);
      const isChosen = one === tower || one === hovered;
      const size = isChosen ? usual + 2 : usual;
      circle(pen, x, y, size);
      pen.fillStyle = now === 'down' ? card : colourCache(roleColour(map.roles[one]));
      pen.fill();
      pen.lineWidth = now === 'running' ? 0 : 2;
      pen.strokeStyle =
        now === 'down'
          ? colourCache(map.roles[one] ? roleColour(map.roles[one]) : 'grey')
          : (rings[now] ?? card);
      if (now !== 'running') pen.stroke();
      if (one === tower) ring(pen, x, y, size + 3, ink, 1.5);
      if (holdersNow.has(one)) ring(pen, x, y, size + 3, pink, 3);
      if (isChosen || holdersNow.has(one) || map.towers <= 30 || (map.towers <= 80 && side > 380)) {
        pen.fillStyle = isChosen ? ink : quiet;
        pen.fillText(one, x + Math.cos(turned) * (size + 11), y + Math.sin(turned) * (size + 11));
      }
    });
  }

  function ring(pen, x, y, radius, paint, width) {
    circle(pen, x, y, radius);
    pen.strokeStyle = paint;
    pen.lineWidth = width;
    pen.stroke();
  }

  let colours = new Map();
  function colourCache(name) {
    if (!colours.has(name)) colours.set(name, colour(name));
    return colours.get(name);
  }

  function tell(onTheWire, groups, held) {
    told = performance.now();
    const { now } = clock;
    time.textContent = duration(now, Math.min(0.1, Number(speed.value) / 10));
    slider.value = now;
    slider.setAttribute('aria-valuetext', time.textContent);
    const counts = Object.fromEntries(STATES.map((name) => [name, 0]));
    for (let one = 0; one < map.towers; one += 1) counts[stateOf(one, now)] += 1;
    const parts = [
      Object.entries(counts)
        .filter(([, count]) => count)
        .map(([name, count]) => `${count} ${name}`)
        .join(', '),
    ];
    const share = isComplete(now) ? '' : `, counting 1 in ${plain(map.sampledEvery)} messages`;
    parts.push(`on the wire: ${plain(onTheWire)}${share}`);
    if (groups.length > 1)
      parts.push(`partition: ${groups.map((group) => group.length).join(' | ')}`);
    state.replaceChildren(...parts.map((part) => element('span', {}, part)));
    const last = lastUpTo(events, now, ({ at }) => at);
    const rows = events.slice(Math.max(0, last - 4), last + 1).reverse();
    recent.replaceChildren(...rows.map(({ at, text, bad }) => row(at, text, bad)));
    if (!rows.length)
      recent.append(element('li', { class: 'quiet' }, 'No faults or violations so far.'));
    tellTower(now);
    tellMessage(now, held);
  }

  function row(at, text, bad, current) {
    return element(
      'li',
      { class: [bad ? 'bad' : '', current ? 'current' : ''].join(' ').trim() },
      button(duration(at, 0.001), () => clock.set(at), `go to ${duration(at, 0.001)}`),
      element('span', {}, text),
    );
  }

  function tellTower(now) {
    if (tower === null) {
      towerInfo.replaceChildren(
        element('p', { class: 'quiet' }, 'Click a tower or type its number.'),
      );
      return;
    }
    const facts = [
      ['state', stateOf(tower, now)],
      ['role', map.roles[tower] ?? 'none'],
    ];
    const index = lastUpTo(map.samples, now, ([at]) => at);
    if (index >= 0) {
      const [at, towers] = map.samples[index];
      const [waiting, held, ...peers] = towers[tower];
      facts.push(['queue', `${plain(waiting)} waiting, ${plain(held - waiting)} in flight`]);
      const names = ['new', 'alive', 'lost', 'dead', 'ignored'];
      facts.push([
        'peers',
        names
          .map((name, number) => `${plain(peers[number])} ${name}`)
          .filter((text) => !text.startsWith('0'))
          .join(', ') || 'none',
      ]);
      facts.push(['sampled at', duration(at, 0.001)]);
    }
    towerInfo.replaceChildren(
      element(
        'dl',
        {},
        ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]),
      ),
    );
  }

  // What happened to the followed message, in the order of time.
  function pathOf(wanted) {
    const path = (hops.get(wanted) ?? []).map((index) => {
      const end = map.end[index] === null ? 'open' : ENDS[map.end[index]];
      return {
        at: map.departs[index],
        bad: !wasAccepted(index),
        text: `${map.from[index]} → ${map.to[index]}: ${wasAccepted(index) ? 'accepted' : 'not accepted'}, ${end}`,
      };
    });
    const changes = changesOf(wanted).map(([at, one, , kind]) => ({
      at,
      text: `${kind} at tower ${one}`,
    }));
    return changes.concat(path).sort((a, b) => a.at - b.at);
  }

  function tellMessage(now, held) {
    if (message === null) {
      const shown =
        map.sampledEvery > 1 ? ` Whole paths: multiples of ${plain(map.sampledEvery)}.` : '';
      messageInfo.replaceChildren(
        element('p', { class: 'quiet' }, `Type the number of a message to follow it.${shown}`),
      );
      return;
    }
    const path = pathOf(message);
    const current = lastUpTo(path, now, ({ at }) => at);
    const from = Math.max(0, Math.min(current - 4, path.length - MOST_ROWS));
    const isWhole = message % map.sampledEvery === 0;
    messageInfo.replaceChildren(
      element(
        'p',
        {},
        held.length
          ? `held by ${held.join(', ')}`
          : path.length
            ? 'held by no tower'
            : 'not in the record',
      ),
      element(
        'ol',
        { class: 'events' },
        ...path
          .slice(from, from + MOST_ROWS)
          .map(({ at, text, bad }, index) => row(at, text, bad, from + index === current)),
      ),
      element(
        'p',
        { class: 'quiet' },
        path.length
          ? `Step ${current + 1} of ${path.length}.${isWhole ? '' : ' Hops between the recorded times are missing.'}`
          : '',
      ),
    );
  }

  function chooseTower(one) {
    tower = one;
    draw();
  }

  function chooseMessage(one) {
    message = one;
    holders = one === null ? [] : holdersOf(one);
    draw();
  }

  function jump(step) {
    const index =
      step > 0
        ? lastUpTo(events, clock.now, ({ at }) => at) + 1
        : lastUpTo(events, clock.now - 1e-6, ({ at }) => at);
    if (events[index]) clock.set(events[index].at);
  }

  function jumpHop(step) {
    if (message === null) return;
    const path = pathOf(message);
    const index =
      step > 0
        ? lastUpTo(path, clock.now, ({ at }) => at) + 1
        : lastUpTo(path, clock.now - 1e-6, ({ at }) => at);
    if (path[index]) clock.set(path[index].at);
  }

  function start() {
    if (clock.now >= run.end) clock.set(0);
    play.textContent = 'Pause';
    let before = performance.now();
    const frame = (at) => {
      // A page in the background gets no frames.
      const passed = Math.min(0.1, Math.max(0, at - before) / 1000);
      before = at;
      if (clock.now >= run.end) return stop();
      playing = requestAnimationFrame(frame);
      clock.set(clock.now + passed * Number(speed.value));
    };
    playing = requestAnimationFrame(frame);
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = null;
    play.textContent = 'Play';
    draw();
  }

  function towerAt(event) {
    const box = canvas.getBoundingClientRect();
    const side = Math.min(box.width, box.height);
    const [x, y] = [
      event.clientX - box.left - (box.width - side) / 2,
      event.clientY - box.top - (box.height - side) / 2,
    ];
    const distances = spots.map((spot) => Math.hypot(spot[0] - x, spot[1] - y));
    const nearest = distances.indexOf(Math.min(...distances));
    return distances[nearest] < 16 ? nearest : null;
  }

  canvas.addEventListener('pointermove', (event) => {
    hovered = towerAt(event);
    canvas.style.cursor = hovered === null ? '' : 'pointer';
    if (playing === null) draw();
  });
  canvas.addEventListener('pointerleave', () => {
    hovered = null;
  });
  canvas.addEventListener('click', (event) => {
    const one = towerAt(event);
    towerInput.value = one ?? '';
    chooseTower(one);
  });
  speed.addEventListener('change', draw);
  onColours(() => {
    colours = new Map();
    draw();
  });
  clock.listeners.push(draw);
  new ResizeObserver(draw).observe(canvas);

  // A message should need about a second of the viewer's time for one hop.
  function usualSpeed() {
    const took =
      [...map.took].sort((a, b) => a - b)[Math.floor(map.took.length / 2)] || run.end / 60;
    return SPEEDS.reduce((best, value) =>
      Math.abs(Math.log(value / took)) < Math.abs(Math.log(best / took)) ? value : best,
    );
  }

  // The first violation, else the first fault, else a moment with hand-overs.
  function opening() {
    const event = events.find(({ bad }) => bad) ?? events[0];
    return event ?? { at: map.departs[Math.floor(map.departs.length * 0.9)] ?? 0 };
  }

  // `#at=312&tower=3&message=17` after the address of the page chooses what it shows.
  const asked = new URLSearchParams(location.hash.slice(1));
  const given = (name) => (/^\d+$/.test(asked.get(name) ?? '') ? Number(asked.get(name)) : null);
  speed.value = usualSpeed();
  const first = opening();
  tower = given('tower') ?? first.tower ?? null;
  if (tower >= map.towers) tower = null;
  message = given('message') ?? first.message ?? null;
  [towerInput.value, messageInput.value] = [tower ?? '', message ?? ''];
  if (message !== null) holders = holdersOf(message);
  clock.set(asked.has('at') ? Number(asked.get('at')) || 0 : first.at);
})();
