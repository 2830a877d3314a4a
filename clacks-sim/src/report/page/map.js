'use strict';

(() => {
  const flights = run.flights;
  if (!flights || !flights.towers) return;

  const COLOURS = { running: 'green', paused: 'orange', leaving: 'purple', down: 'grey' };
  const SPEEDS = [0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 3600];
  // So long, in the viewer's seconds, a message that has arrived can still be seen.
  const TRAIL = 0.35;
  // And so long one whose connection broke.
  const WRECK = 1.5;
  const MOST_DRAWN = 1500;
  const WORDS = {
    crash: 'crashed', restart: 'came back', leave: 'is leaving', pause: 'was stopped', resume: 'goes on',
    'clock step': '\u2019s clock jumped', 'clock drift': '\u2019s clock drifts', cut: '\u2019s connections were cut',
  };
  const NETWORK = { partition: 'The network is parted', heal: 'A partition healed', weather: 'The weather changed' };

  const section = document.getElementById('map');
  section.hidden = false;
  const canvas = element('canvas', { role: 'img', 'aria-label': 'The towers and the messages between them' });
  const play = element('button', { type: 'button' }, 'Play');
  const speed = element('select', { 'aria-label': 'Speed' }, ...SPEEDS.map((value) => element('option', { value }, speedName(value))));
  const slide = element('input', { class: 'slide', type: 'range', min: 0, max: run.end, step: 'any', value: 0, 'aria-label': 'Simulated time' });
  const clock = element('p', { class: 'clock' });
  const state = element('p', { class: 'state' });
  const events = element('ul', { class: 'events' });
  const key = element('p', { class: 'key' }, ...Object.entries(COLOURS).map(([name, paint]) => element('span', {}, element('i', { style: name === 'down' ? `border: 2px solid var(--${paint})` : `background: var(--${paint})` }), name)), element('span', {}, element('i', { style: 'background: var(--blue)' }), 'message'), element('span', {}, element('i', { class: 'wreck' }), 'its connection broke'));
  const notes = [];
  if (flights.oneOf > 1) notes.push(`The map shows one in ${plain(flights.oneOf)} of ${plain(flights.seen)} hand-overs.`);
  if (flights.turnsLeftOut) notes.push(`${plain(flights.turnsLeftOut)} later turns in towers\u2019 lives are left out.`);
  section.append(
    element('h2', {}, 'Map'),
    element('div', { class: 'stage' }, element('div', {}, canvas), element('div', {}, element('div', { class: 'controls' }, play, speed), slide, clock, state, element('h3', {}, 'Lately'), events, key)),
    element('p', { class: 'quiet' }, notes.join(' ')),
  );

  const turns = Array.from({ length: flights.towers }, () => []);
  for (const [at, tower, what] of flights.turns) turns[tower]?.push([at, what]);
  // After how long those stopped that did not arrive.
  const broke = new Map(flights.broke);
  const longest = flights.took.reduce((most, took) => Math.max(most, took), 0);
  let now = 0;
  let isPlaying = false;
  let before = null;
  let pointed = null;
  let spots = [];
  speed.value = SPEEDS.reduce((best, value) => Math.abs(Math.log(value * 60 / run.end)) < Math.abs(Math.log(best * 60 / run.end)) ? value : best);

  function speedName(value) {
    return value === 1 ? 'as it was' : value < 1 ? `${Math.round(1 / value)} times slower` : `${value} times faster`;
  }

  function stateOf(tower, at) {
    const place = lastUpTo(turns[tower], at, (turn) => turn[0]);
    return place < 0 ? 'down' : turns[tower][place][1];
  }

  function openPartings(at) {
    return flights.partings.filter(({ from, until }) => from <= at && at < (until ?? Infinity));
  }

  // Who can reach each other stands together on an arc; without partitions that is the whole circle.
  function groupsAt(at) {
    const open = openPartings(at).map(({ inside }) => new Set(inside));
    const groups = new Map();
    for (let tower = 0; tower < flights.towers; tower += 1) {
      const side = open.map((inside) => (inside.has(tower) ? 1 : 0)).join('');
      if (!groups.has(side)) groups.set(side, []);
      groups.get(side).push(tower);
    }
    return [...groups.values()];
  }

  function arrange(groups, size) {
    const gap = groups.length > 1 ? 0.05 : 0;
    const radius = size / 2 - 26 - (groups.length > 1 ? 12 : 0);
    const places = new Array(flights.towers);
    let angle = -Math.PI / 2 + gap * Math.PI;
    for (const group of groups) {
      const arc = (group.length / flights.towers) * 2 * Math.PI * (1 - gap * groups.length);
      const middle = angle + arc / 2;
      const push = groups.length > 1 ? 12 : 0;
      group.forEach((tower, number) => {
        const turned = angle + (arc * (number + 0.5)) / group.length;
        places[tower] = [
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
    const size = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!size || !height) return;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(size * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(size * scale);
      canvas.height = Math.round(height * scale);
    }
    const side = Math.min(size, height);
    const pen = canvas.getContext('2d');
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, size, height);
    pen.translate((size - side) / 2, (height - side) / 2);
    const groups = groupsAt(now);
    spots = arrange(groups, side);
    const counts = { running: 0, paused: 0, leaving: 0, down: 0 };
    const states = spots.map((_, tower) => stateOf(tower, now));
    for (const name of states) counts[name] += 1;
    const flying = drawFlights(pen);
    drawTowers(pen, states, side);
    tell(counts, flying, groups);
  }

  function drawFlights(pen) {
    const trail = TRAIL * Number(speed.value);
    const wreck = WRECK * Number(speed.value);
    const { from, to, departs, took } = flights;
    const found = [];
    let flying = 0;
    for (let place = lastUpTo(departs, now); place >= 0 && departs[place] >= now - longest - wreck; place -= 1) {
      const ended = now - departs[place] - (broke.get(place) ?? took[place]);
      if (ended < 0) flying += 1;
      if (ended < (broke.has(place) ? wreck : trail) && found.length < MOST_DRAWN) found.push([place, ended]);
    }
    const paints = { whole: colour('blue'), broken: colour('red') };
    pen.lineWidth = 1.2;
    // Many lines on top of each other hide the dots.
    const faint = Math.min(1, 12 / Math.sqrt(found.length + 1));
    for (const [place, ended] of found) {
      const [a, b] = [spots[from[place]], spots[to[place]]];
      if (!a || !b) continue;
      const isWreck = ended >= 0 && broke.has(place);
      const way = Math.min(now - departs[place], broke.get(place) ?? took[place]);
      const share = took[place] > 0 ? Math.min(1, Math.max(0, way / took[place])) : 1;
      const [x, y] = [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
      const left = ended < 0 ? 1 : 1 - ended / (isWreck ? wreck : trail);
      pen.strokeStyle = pen.fillStyle = isWreck ? paints.broken : paints.whole;
      pen.globalAlpha = 0.45 * left * faint;
      pen.beginPath();
      pen.moveTo(a[0], a[1]);
      pen.lineTo(x, y);
      pen.stroke();
      pen.globalAlpha = left;
      pen.beginPath();
      if (isWreck) {
        pen.moveTo(x - 4, y - 4);
        pen.lineTo(x + 4, y + 4);
        pen.moveTo(x - 4, y + 4);
        pen.lineTo(x + 4, y - 4);
        pen.lineWidth = 2;
        pen.stroke();
        pen.lineWidth = 1.2;
      } else if (ended < 0) {
        pen.arc(x, y, 3, 0, 7);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    return flying;
  }

  function drawTowers(pen, states, side) {
    const usual = Math.max(1.8, Math.min(7, (side * 1.1) / flights.towers));
    const isCrowded = usual < 4;
    pen.font = '10px system-ui, sans-serif';
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    spots.forEach(([onX, onY, turned], tower) => {
      const paint = colours[states[tower]];
      // In a crowd, who doesn't run steps out of the line, or nobody would see it.
      const isOut = isCrowded && states[tower] !== 'running';
      const size = isOut ? 3.5 : usual;
      const [x, y] = isOut ? [onX + Math.cos(turned) * 9, onY + Math.sin(turned) * 9] : [onX, onY];
      pen.beginPath();
      pen.arc(x, y, tower === pointed ? size + 2 : size, 0, 7);
      if (states[tower] === 'down') {
        pen.strokeStyle = paint;
        pen.lineWidth = 1.3;
        pen.fillStyle = colours.card;
        pen.fill();
        pen.stroke();
      } else {
        pen.fillStyle = paint;
        pen.fill();
      }
      const isNamed = tower === pointed || (flights.towers <= 80 && side > 380) || flights.towers <= 30;
      if (isNamed) {
        pen.fillStyle = tower === pointed ? colours.ink : colours.quiet;
        pen.fillText(tower, x + Math.cos(turned) * (size + 9), y + Math.sin(turned) * (size + 9));
      }
    });
  }

  function tell(counts, flying, groups) {
    clock.textContent = duration(Math.round(now * 1000) / 1000);
    const towers = Object.entries(counts).filter(([, count]) => count).map(([name, count]) => `${count} ${name}`);
    const messages = flights.oneOf > 1 ? 'of the messages shown' : flying === 1 ? 'message' : 'messages';
    const parts = [`Towers: ${towers.join(', ')}.`, `On their way: ${flying} ${messages}.`];
    if (openPartings(now).length) parts.push(`The network is parted: ${groups.map((group) => group.length).join(' | ')}.`);
    if (pointed !== null) parts.push(`Tower ${pointed}: ${stateOf(pointed, now)}.`);
    state.textContent = parts.join(' ');
    const last = lastUpTo(run.marks, now, (mark) => mark[0]);
    const lately = [];
    for (let place = last; place >= 0 && lately.length < 8; place -= 1) {
      const [at, what, tower] = run.marks[place];
      const text = tower === null ? NETWORK[what] ?? what : `Tower ${tower}${(WORDS[what] ?? what).startsWith('\u2019') ? '' : ' '}${WORDS[what] ?? what}`;
      lately.push(element('li', {}, element('time', {}, duration(at)), text));
    }
    if (!lately.length) lately.push(element('li', { class: 'quiet' }, 'Nothing was done to the network yet.'));
    events.replaceChildren(...lately);
  }

  function go(to) {
    now = Math.min(run.end, Math.max(0, to));
    slide.value = now;
    slide.setAttribute('aria-valuetext', duration(now));
    moment.setNow(now);
    draw();
  }

  function stop() {
    isPlaying = false;
    before = null;
    play.textContent = 'Play';
  }

  function turn(at) {
    if (!isPlaying) return;
    // A page in the background gets no frames: what it missed is not made up for.
    const passed = before === null ? 0 : Math.min(0.1, (at - before) / 1000);
    before = at;
    go(now + passed * Number(speed.value));
    if (now >= run.end) stop();
    else requestAnimationFrame(turn);
  }

  play.addEventListener('click', () => {
    if (isPlaying) return stop();
    if (now >= run.end) now = 0;
    isPlaying = true;
    play.textContent = 'Pause';
    requestAnimationFrame(turn);
  });
  slide.addEventListener('input', () => go(Number(slide.value)));
  speed.addEventListener('change', draw);
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect();
    const side = Math.min(box.width, box.height);
    const [x, y] = [event.clientX - box.left - (box.width - side) / 2, event.clientY - box.top - (box.height - side) / 2];
    const near = spots.map((spot, tower) => [Math.hypot(spot[0] - x, spot[1] - y), tower]).sort((a, b) => a[0] - b[0])[0];
    pointed = near && near[0] < 14 ? near[1] : null;
    draw();
  });
  canvas.addEventListener('pointerleave', () => {
    pointed = null;
    draw();
  });

  let colours = {};
  const choosePaint = () => {
    colours = { card: colour('card'), ink: colour('ink'), quiet: colour('quiet') };
    for (const [name, paint] of Object.entries(COLOURS)) colours[name] = colour(paint);
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    choosePaint();
    draw();
  });
  choosePaint();
  moment.choose = go;
  new ResizeObserver(draw).observe(canvas);
  // `#at=312` behind the page's address opens the map at that second.
  const asked = Number(new URLSearchParams(location.hash.slice(1)).get('at'));
  go(asked > 0 ? asked : run.end * 0.1);
})();
