'use strict';

(() => {
  // Title, what to look at, and the curves with their colours. `prefix*` stands for all curves
  // whose key begins with the prefix.
  const PLOTS = [
    [
      'Towers',
      'The line falls when towers crash or leave and rises when they restart.',
      { running: 'green' },
    ],
    [
      'Messages',
      'Copies above the messages are surplus. A falling line of messages is loss.',
      { messages: 'green', copies: 'blue', lost: 'red' },
    ],
    [
      'Where copies are',
      'A network at rest keeps its copies waiting; a busy one keeps them in flight.',
      { waiting: 'grey', in_flight: 'blue', on_the_wire: 'purple' },
    ],
    [
      'Files',
      'Pieces above the law are the work of keepers. Pieces below it were dropped.',
      { files_readable: 'green', pieces_alive: 'blue', pieces_law: 'grey' },
    ],
    [
      'Hand-overs',
      'Deliveries should follow hand-overs closely. The gap is returned or retried.',
      { hand_overs: 'blue', deliveries: 'green', returned: 'orange', retries: 'red' },
    ],
    [
      'Hops by role',
      'A role that accepts more messages than its share of the towers attracts messages.',
      { 'role_hops.*': '' },
    ],
    [
      'Returned by role',
      'Hand-overs that failed or were refused, by the role of the sender.',
      { 'role_returned.*': '' },
    ],
    [
      'Hops across the partition',
      'The share falls to 0 during a partition and should return to its value before it.',
      { crossing_share: 'purple' },
    ],
    [
      'Status of peers',
      'Alive should dominate. Lost and dead rise with faults and should fall after them.',
      {
        peers_alive: 'green',
        peers_new: 'blue',
        peers_lost: 'orange',
        peers_dead: 'red',
        peers_ignored: 'purple',
      },
    ],
    [
      'Discovery',
      'At 100 % every tower knows every other running tower as alive.',
      { discovery: 'green' },
    ],
    [
      'Status changes',
      'Peaks show when towers noticed a fault and its end.',
      { became_alive: 'green', became_lost: 'orange', became_dead: 'red' },
    ],
    [
      'Queue lengths',
      'A maximum far above the median means that messages pile up at few towers.',
      { queue_max: 'red', queue_p99: 'orange', queue_median: 'blue', queue_mean: 'grey' },
    ],
    [
      'Coalesced',
      'Each is a surplus copy that met another copy and disappeared.',
      { coalesced: 'purple' },
    ],
    [
      'Enqueued',
      'Refused messages mean full queues or towers that are down.',
      { enqueued: 'blue', enqueue_refused: 'red' },
    ],
    [
      'Dials and breaks',
      'Failed dials follow dials to towers that are down or cut off.',
      { dials: 'blue', failed_dials: 'orange', broken: 'red', not_accepted: 'purple' },
    ],
    [
      'Connections',
      'The line shows how many connections towers keep open.',
      { connections: 'blue' },
    ],
    ['Bytes sent', 'Bytes of all towers together.', { bytes_sent: 'blue' }],
    [
      'Faults',
      'Faults by chance, and dials and bytes that a partition blocked.',
      { 'fault.*': '' },
    ],
  ];
  const PALETTE = ['blue', 'orange', 'green', 'red', 'purple', 'grey'];
  const HEIGHT = 200;
  const place = document.getElementById('plots');
  const list = element('div', { class: 'plots' });
  const drawn = [];
  const empty = [];
  const sync = uPlot.sync('run');

  function curvesOf(colours) {
    return Object.entries(colours).flatMap(([key, paint]) => {
      const keys = key.endsWith('*')
        ? Object.keys(run.curves).filter((one) => one.startsWith(key.slice(0, -1)))
        : [key];
      return keys.map((one, index) => ({
        ...run.curves[one],
        paint:
          paint ||
          (key.startsWith('role_')
            ? roleColour(run.curves[one].name)
            : PALETTE[index % PALETTE.length]),
        dash: paint ? 0 : Math.floor(index / PALETTE.length),
      }));
    });
  }

  // Shades partitions and the time after the last fault, and marks faults.
  function background(plot) {
    const { ctx, bbox } = plot;
    const x = (at) => plot.valToPos(Math.min(at, run.end), 'x', true);
    const shade = (name, from, until) => {
      ctx.fillStyle = colour(name);
      ctx.fillRect(x(from), bbox.top, Math.max(1, x(until ?? run.end) - x(from)), bbox.height);
    };
    ctx.save();
    for (const [from, until] of run.partitions) shade('parted', from, until);
    if (run.faultsEnd !== null) shade('quiet-phase', run.faultsEnd, run.end);
    ctx.fillStyle = colour('quiet');
    for (const [at] of run.marks)
      ctx.fillRect(
        Math.round(x(at)),
        bbox.top + bbox.height - 5 * devicePixelRatio,
        devicePixelRatio,
        5 * devicePixelRatio,
      );
    ctx.restore();
  }

  function axis(more) {
    return {
      stroke: colour('quiet'),
      grid: { stroke: colour('line'), width: 1 },
      ticks: { stroke: colour('line'), width: 1 },
      font: '11px system-ui, sans-serif',
      ...more,
    };
  }

  function steps() {
    const even = [
      1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
      172800, 604800,
    ];
    return [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
      .flatMap((power) => [power, 2 * power, 5 * power])
      .concat(even);
  }

  // Without a cursor the legend shows the values at the moment of the map.
  function showMoment(plot) {
    plot.setLegend({ idx: Math.max(0, lastUpTo(run.time, clock.now)) }, false);
  }

  function draw({ figure, curves, unit }) {
    const share = unit === 'share';
    const data = [
      run.time,
      ...curves.map(({ values }) =>
        share ? values.map((value) => (value === null ? null : value * 100)) : values,
      ),
    ];
    const now = element('i', { class: 'now' });
    const series = curves.map(({ name, paint, dash }) => ({
      label: name,
      stroke: colour(paint),
      width: 1.6,
      dash: dash ? [4 * dash, 3] : undefined,
      points: { show: run.time.length < 3 },
      value: (_, value) =>
        value === null || value === undefined
          ? ''
          : share
            ? `${plain(value)}\u202f%`
            : plain(value),
    }));
    const plot = new uPlot(
      {
        width: Math.max(200, figure.clientWidth - 24),
        height: HEIGHT,
        scales: {
          x: { time: false, range: [0, run.end || 1] },
          y: {
            range: (_, low, high) => [
              Math.min(0, low ?? 0),
              share ? 100 : Math.max(high ?? 0, 1e-9) * 1.05,
            ],
          },
        },
        series: [
          { label: 'at', value: (_, at) => (at === null || at === undefined ? '' : duration(at)) },
          ...series,
        ],
        axes: [
          axis({
            incrs: steps(),
            space: 80,
            values: (_, ticks) => ticks.map((at) => duration(at, ticks[1] - ticks[0])),
          }),
          axis({
            size: 56,
            values: (_, ticks) =>
              ticks.map((value) =>
                Math.abs(value) >= 1e4
                  ? new Intl.NumberFormat('en', { notation: 'compact' }).format(value)
                  : plain(value),
              ),
          }),
        ],
        legend: {
          markers: { width: 0, fill: (_, index) => colour(curves[index - 1]?.paint ?? 'card') },
        },
        cursor: { sync: { key: sync.key }, drag: { x: false, y: false } },
        hooks: {
          drawClear: [background],
          ready: [(made) => made.over.append(now)],
          setCursor: [(made) => made.cursor.idx ?? showMoment(made)],
        },
      },
      data,
      figure,
    );
    plot.over.addEventListener('click', () => clock.set(plot.posToVal(plot.cursor.left, 'x')));
    const move = () => {
      now.style.left = `${plot.valToPos(clock.now, 'x')}px`;
      if (plot.cursor.idx === null || plot.cursor.idx === undefined) showMoment(plot);
    };
    move();
    return { plot, move };
  }

  function add(title, sentence, curves) {
    const unit = curves[0].unit;
    const heading = element(
      'h3',
      {},
      title,
      element('small', {}, unit === 'share' ? 'per cent' : unit),
    );
    const figure = element(
      'figure',
      { class: 'plot', tabindex: 0, 'aria-label': `${title}, ${unit}` },
      heading,
      element('p', { class: 'quiet' }, sentence),
    );
    list.append(figure);
    const entry = { figure, curves, unit };
    figure.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !run.time.length) return;
      event.preventDefault();
      const last = run.time.length - 1;
      const index = Math.min(last, Math.max(0, (entry.plot.cursor.idx ?? last) + step));
      entry.plot.setCursor({ left: entry.plot.valToPos(run.time[index], 'x'), top: 10 });
    });
    drawn.push(entry);
    Object.assign(entry, draw(entry));
  }

  function redraw() {
    for (const entry of drawn) {
      entry.plot.destroy();
      Object.assign(entry, draw(entry));
    }
  }

  function key() {
    const entries = [];
    if (run.partitions.length)
      entries.push(element('span', {}, element('i', { class: 'parted' }), 'partition'));
    if (run.faultsEnd !== null)
      entries.push(element('span', {}, element('i', { class: 'quiet-phase' }), 'no more faults'));
    if (run.marks.length)
      entries.push(element('span', {}, element('i', { class: 'tick' }), 'fault'));
    if (run.map)
      entries.push(
        element(
          'span',
          {},
          element('i', { class: 'line' }),
          'moment of the map; a click on a plot sets it',
        ),
      );
    return element('p', { class: 'key' }, ...entries);
  }

  place.append(element('h2', {}, 'Over time'), key(), list);
  if (!run.time.length) {
    list.append(element('p', { class: 'quiet' }, 'The run ended before its first sample.'));
    return;
  }
  for (const [title, sentence, colours] of PLOTS) {
    const curves = curvesOf(colours).filter(({ values }) => values.some((value) => value));
    if (curves.length) add(title, sentence, curves);
    else if (!title.includes('role') && (run.partitions.length || !title.includes('partition')))
      empty.push(title.toLowerCase());
  }
  if (empty.length)
    place.append(
      element('p', { class: 'quiet' }, `Not drawn because all values are 0: ${empty.join(', ')}.`),
    );
  clock.listeners.push(() => drawn.forEach(({ move }) => move()));
  onColours(redraw);
  new ResizeObserver(() => {
    for (const { plot, move, figure } of drawn) {
      plot.setSize({ width: Math.max(200, figure.clientWidth - 24), height: HEIGHT });
      move();
    }
  }).observe(list);
})();
