// The fill of the queue and the rates over the last hour.
const plots = (() => {
  const HOUR = 3600;
  // Points of this page are as far apart as those of the tower.
  const STEP = 10;
  const HEIGHT = 170;
  const SHORTEST = 300;
  const PLOTS = [
    {
      name: 'Messages held',
      bound: 'max_messages',
      curves: [['held', 'messages', 'in']],
      format: plain,
    },
    { name: 'Bytes held', bound: 'max_bytes', curves: [['held', 'bytes', 'in']], format: size },
    {
      name: 'Hops per second',
      curves: [
        ['in', 'received_per_s', 'in'],
        ['out', 'delivered_per_s', 'out'],
      ],
      format: (value) => plain(value, numbers),
    },
  ];
  const place = element('div', { class: 'plots' });
  let points = [];
  let bounds = {};
  let last = null;
  let drawn = [];

  function add(point) {
    points.push(point);
    const since = point.time - HOUR;
    points = points.filter(({ time }) => time >= since);
  }

  // The first points come from the tower. Those since then come from its states.
  function start(history) {
    points = [];
    last = null;
    for (const point of history.points) add({ ...point, time: Date.parse(point.time) / 1000 });
  }

  function observe(status) {
    const time = Date.parse(status.time) / 1000;
    const { received, delivered } = status.stats;
    bounds = status.queue;
    if (last && time - last.time < STEP) return;
    const seconds = last ? time - last.time : 0;
    const rate = (count, before) => (seconds > 0 ? Math.max(0, count - before) / seconds : null);
    const { messages, bytes } = status.queue;
    add({
      time,
      messages,
      bytes,
      received_per_s: last ? rate(received, last.received) : status.rates.received_per_s,
      delivered_per_s: last ? rate(delivered, last.delivered) : status.rates.delivered_per_s,
    });
    last = { time, received, delivered };
    draw();
  }

  function data(plot) {
    const columns = plot.curves.map(([, key]) => points.map((point) => point[key] ?? null));
    return [points.map(({ time }) => time), ...columns];
  }

  function span() {
    const last = points.at(-1)?.time ?? Date.now() / 1000;
    return [Math.min(points[0]?.time ?? last, last - SHORTEST), last];
  }

  function make(plot, card) {
    const axis = {
      stroke: colour('quiet'),
      grid: { stroke: colour('line'), width: 1 },
      ticks: { stroke: colour('line'), width: 1 },
      font: '12px system-ui, sans-serif',
    };
    const clock = (_, times) => times.map((time) => clockTime(time * 1000).slice(0, 5));
    // Without a pointer on the plot, its legend has the last values.
    const showLast = (chart) => {
      if (chart.cursor.idx == null) chart.setLegend({ idx: chart.data[0].length - 1 });
    };
    const options = {
      hooks: { draw: [showLast], setCursor: [showLast] },
      width: Math.max(200, card.clientWidth - 24),
      height: HEIGHT,
      cursor: { y: false },
      scales: {
        // A young tower has a shorter axis, so that its curve is more than a point.
        x: { range: span },
        y: { range: (_, low, high) => [0, Math.max(1, high * 1.15)] },
      },
      axes: [
        { ...axis, values: clock },
        { ...axis, size: 70, values: (_, values) => values.map((value) => plot.format(value)) },
      ],
      series: [
        { value: (_, time) => (time === null ? '' : clockTime(time * 1000)) },
        ...plot.curves.map(([label, , paint]) => ({
          label,
          stroke: colour(paint),
          width: 2,
          fill: plot.curves.length === 1 ? colour(paint) + '22' : undefined,
          points: { show: points.length < 3 },
          value: (_, value) => (value === null ? '' : plot.format(value)),
        })),
      ],
    };
    const chart = new uPlot(options, data(plot), card);
    chart.ctx.canvas.setAttribute('role', 'img');
    chart.ctx.canvas.setAttribute('aria-label', `${plot.name} over the last hour`);
    return chart;
  }

  function draw() {
    drawn.forEach(({ plot, chart, about }) => {
      chart.setData(data(plot));
      const values = data(plot)
        .slice(1)
        .flat()
        .filter((value) => value !== null);
      const highest = values.length ? Math.max(...values) : 0;
      const bound = plot.bound ? ` of at most ${plot.format(bounds[plot.bound])}` : '';
      setText(about, `Highest in the last hour: ${plot.format(highest)}${bound}`);
    });
  }

  function build() {
    for (const { chart } of drawn) chart.destroy();
    place.replaceChildren();
    const cards = PLOTS.map((plot) => {
      const about = element('p', { class: 'quiet' });
      const card = element('section', { class: 'card plot' }, element('h2', {}, plot.name), about);
      place.append(card);
      return { plot, card, about };
    });
    drawn = cards.map(({ plot, card, about }) => ({ plot, about, card, chart: make(plot, card) }));
    draw();
  }

  function watchSize() {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', build);
    new ResizeObserver(() => {
      for (const { chart, card } of drawn)
        chart.setSize({ width: Math.max(200, card.clientWidth - 24), height: HEIGHT });
    }).observe(place);
  }

  return { place, start, observe, build, watchSize };
})();
