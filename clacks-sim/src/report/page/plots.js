'use strict';

(() => {
  const PLOTS = [
    { title: 'Running towers', unit: 'towers', lines: [['running', 'green']] },
    { title: 'What towers think of each other', unit: 'entries in peer tables', stacked: true, lines: [['peers_alive', 'green'], ['peers_new', 'blue'], ['peers_lost', 'orange'], ['peers_dead', 'red'], ['peers_ignored', 'purple']] },
    { title: 'Discovery and healing', unit: 'share of the other running towers', share: true, lines: [['discovery', 'green']] },
    { title: 'Status changes', unit: 'changes per second', lines: [['became_alive', 'green'], ['became_lost', 'orange'], ['became_dead', 'red']] },
    { title: 'Messages on the wire', unit: 'messages', lines: [['on_the_wire', 'blue']] },
    { title: 'Queue lengths', unit: 'messages in a tower\u2019s queue', lines: [['queue_max', 'red'], ['queue_p99', 'orange'], ['queue_median', 'blue'], ['queue_mean', 'grey']] },
    { title: 'Messages and copies', unit: 'messages', lines: [['copies', 'blue'], ['messages', 'green'], ['waiting', 'grey']] },
    { title: 'Lost and surplus', unit: 'messages', lines: [['lost', 'red'], ['surplus', 'orange']] },
    { title: 'Hand-overs', unit: 'messages per second', lines: [['hand_overs', 'blue'], ['deliveries', 'green'], ['returned', 'orange']] },
    { title: 'Coalesced and tried again', unit: 'messages per second', lines: [['coalesced', 'purple'], ['retries', 'orange']] },
    { title: 'Enqueued', unit: 'messages per second', lines: [['enqueued', 'blue'], ['enqueue_refused', 'red']] },
    { title: 'Connections', unit: 'per second', lines: [['dials', 'blue'], ['failed_dials', 'orange'], ['broken', 'red'], ['not_accepted', 'purple']] },
    { title: 'Links open', unit: 'links', lines: [['links', 'blue']] },
    { title: 'Bytes sent', unit: 'bytes per second', lines: [['bytes_sent', 'blue']] },
  ];
  // What a mark means, in four colours rather than eleven.
  const MARKS = {
    red: ['crash', 'leave', 'pause'],
    green: ['restart', 'resume', 'heal'],
    orange: ['partition', 'cut', 'weather'],
    purple: ['clock step', 'clock drift'],
  };
  const HEIGHT = 215;
  const LANE = 19;
  const MARGIN = { left: 46, right: 14, top: 20, bottom: 40 };
  const time = run.time;
  const colourOf = (fault) => Object.keys(MARKS).find((name) => MARKS[name].includes(fault)) ?? 'grey';
  const place = document.getElementById('plots');

  function isUneventful(plot) {
    return plot.lines.every(([key]) => !run.columns[key].total && run.columns[key].values.every((value) => !value));
  }

  function card(title) {
    const when = element('span', { class: 'moment' });
    const legend = element('div', { class: 'legend' });
    const figure = element('figure', { class: 'plot', tabindex: '0' }, element('header', {}, element('h3', {}, title), when), legend);
    place.append(figure);
    const svg = shape('svg', { role: 'img', 'aria-label': title }, figure);
    figure.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !time.length) return;
      event.preventDefault();
      const from = moment.index ?? time.length - 1;
      moment.look(Math.min(time.length - 1, Math.max(0, from + step)));
    });
    figure.addEventListener('blur', () => moment.look(null));
    return { figure, when, legend, svg };
  }

  // The part of a plot that all share: size, time axis, shades, marks, the hair line.
  function frame(parts, height, left, draw, hasMarks = true) {
    const { svg, figure, when } = parts;
    let width = 0;
    let overlay;
    const x = (at) => left + (run.end > 0 ? at / run.end : 0) * (width - left - MARGIN.right);
    const redraw = () => {
      width = Math.max(160, figure.clientWidth - 28);
      svg.replaceChildren();
      svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
      svg.setAttribute('height', height);
      const bottom = height - MARGIN.bottom;
      for (const { kind, from, until } of run.spans) {
        const start = x(Math.min(from, run.end));
        const end = x(Math.min(until ?? run.end, run.end));
        shape('rect', { class: kind, x: start, y: MARGIN.top, width: Math.max(1, end - start), height: bottom - MARGIN.top }, svg);
      }
      draw(svg, x, width, bottom);
      shape('line', { class: 'axis', x1: left, x2: width - MARGIN.right, y1: bottom, y2: bottom }, svg);
      const ticks = timeTicks(run.end, Math.max(2, Math.floor((width - left) / 70)));
      for (const at of ticks.at) {
        shape('line', { class: 'axis', x1: x(at), x2: x(at), y1: bottom, y2: bottom + 4 }, svg);
        shape('text', { x: x(at), y: bottom + 16, 'text-anchor': 'middle' }, svg, digits(at / ticks.scale, 6));
      }
      shape('text', { x: (left + width - MARGIN.right) / 2, y: height - 6, 'text-anchor': 'middle' }, svg, `simulated time, ${ticks.unit}`);
      if (hasMarks) marks(svg, x, bottom);
      overlay = shape('g', {}, svg);
      update();
    };
    const update = () => {
      if (!overlay) return;
      overlay.replaceChildren();
      const bottom = height - MARGIN.bottom;
      if (moment.now !== null) {
        shape('line', { class: 'now', x1: x(moment.now), x2: x(moment.now), y1: MARGIN.top, y2: bottom }, overlay);
      }
      if (moment.index !== null) {
        const at = x(time[moment.index]);
        shape('line', { class: 'cross', x1: at, x2: at, y1: MARGIN.top, y2: bottom }, overlay);
      }
      const index = moment.index ?? time.length - 1;
      when.textContent = !time.length ? '' : moment.index === null ? 'at the end' : 'at ' + duration(time[index]);
      if (time.length) parts.read(index, overlay, x, moment.index !== null);
    };
    const point = (event) => {
      if (!time.length) return;
      const box = svg.getBoundingClientRect();
      const share = ((event.clientX - box.left) * (width / box.width) - left) / (width - left - MARGIN.right);
      const at = Math.min(1, Math.max(0, share)) * run.end;
      const before = Math.max(0, lastUpTo(time, at));
      const after = Math.min(time.length - 1, before + 1);
      moment.look(at - time[before] < time[after] - at ? before : after);
    };
    svg.addEventListener('pointermove', point);
    svg.addEventListener('pointerdown', (event) => {
      point(event);
      if (moment.index !== null) moment.choose?.(time[moment.index]);
    });
    svg.addEventListener('pointerleave', () => moment.look(null));
    moment.watchers.push(update);
    new ResizeObserver(() => {
      if (Math.max(160, figure.clientWidth - 28) !== width) redraw();
    }).observe(figure);
    redraw();
  }

  // Thousands of marks can share a pixel: one of each colour is enough.
  function marks(svg, x, bottom) {
    const drawn = new Set();
    for (const [at, fault] of run.marks) {
      const key = colourOf(fault) + Math.round(x(at));
      if (drawn.has(key)) continue;
      drawn.add(key);
      shape('line', { x1: x(at), x2: x(at), y1: bottom - 6, y2: bottom, stroke: `var(--${colourOf(fault)})`, 'stroke-width': 1.5 }, svg);
    }
  }

  function chart(plot) {
    const parts = card(plot.title);
    const lines = plot.lines.filter(([key]) => run.columns[key].values.some((value) => value));
    const columns = (lines.length ? lines : plot.lines.slice(0, 1)).map(([key, paint]) => ({ key, paint, ...run.columns[key] }));
    const predictions = run.predictions.filter(({ column, value }) => value !== null && columns.some(({ key }) => key === column));
    const shown = columns.map((column) => {
      const value = element('b');
      parts.legend.append(element('span', { title: column.about }, element('i', { class: plot.stacked ? 'area' : '', style: `background: var(--${column.paint})` }), column.name, value));
      return value;
    });
    for (const { value, label } of predictions) {
      parts.legend.append(element('span', { class: 'long', title: label }, element('i', { class: 'dashed' }), 'predicted', element('b', {}, withUnit(value, columns[0].unit))));
    }
    // Each column from where the ones below it end, or from 0.
    const bases = columns.map((_, number) => time.map((_, at) => plot.stacked ? columns.slice(0, number).reduce((sum, { values }) => sum + (values[at] ?? 0), 0) : 0));
    const top = (number, at) => columns[number].values[at] === null ? null : bases[number][at] + columns[number].values[at];
    let highest = Math.max(0, ...predictions.map(({ value }) => value));
    columns.forEach(({ values }, number) => values.forEach((_, at) => { highest = Math.max(highest, top(number, at) ?? 0); }));
    const whole = columns.every(({ counts }) => !counts);
    const ticks = plot.share ? [0, 0.25, 0.5, 0.75, 1] : roundTicks(highest, 4, whole);
    const limit = ticks.at(-1);
    const y = (value) => HEIGHT - MARGIN.bottom - (value / limit) * (HEIGHT - MARGIN.bottom - MARGIN.top);

    parts.read = (index, overlay, x, isLooking) => {
      columns.forEach((column, number) => {
        shown[number].textContent = withUnit(column.values[index], column.unit);
        const at = top(number, index);
        if (isLooking && at !== null) {
          shape('circle', { cx: x(time[index]), cy: y(at), r: 3, fill: `var(--${column.paint})`, stroke: 'var(--card)' }, overlay);
        }
      });
    };
    frame(parts, HEIGHT, MARGIN.left, (svg, x, width) => {
      shape('text', { x: 2, y: 10 }, svg, plot.unit);
      for (const tick of ticks) {
        shape('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }, svg);
        shape('text', { x: MARGIN.left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, svg, plot.share ? tick * 100 + '%' : short(tick));
      }
      columns.forEach(({ paint }, number) => curve(svg, paint, number, x));
      for (const { value } of predictions) {
        shape('line', { class: 'predicted', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }, svg);
      }
    });

    function curve(svg, paint, number, x) {
      for (const [from, until] of stretches(number)) {
        const along = Array.from({ length: until - from }, (_, step) => from + step);
        const points = along.map((at) => `${x(time[at]).toFixed(1)},${y(top(number, at)).toFixed(1)}`);
        if (points.length === 1) {
          const [cx, cy] = points[0].split(',');
          shape('circle', { cx, cy, r: 3, fill: `var(--${paint})` }, svg);
          continue;
        }
        // Without an outline: that of an empty layer would pass for something.
        if (plot.stacked) {
          const back = along.reverse().map((at) => `${x(time[at]).toFixed(1)},${y(bases[number][at]).toFixed(1)}`);
          shape('polygon', { class: 'area', points: [...points, ...back].join(' '), fill: `var(--${paint})` }, svg);
          continue;
        }
        shape('polyline', { class: 'line', points: points.join(' '), stroke: `var(--${paint})` }, svg);
      }
    }

    // Where the values are known.
    function stretches(number) {
      const found = [];
      let start = null;
      for (let at = 0; at <= time.length; at += 1) {
        const isKnown = at < time.length && top(number, at) !== null;
        if (isKnown && start === null) start = at;
        if (!isKnown && start !== null) {
          found.push([start, at]);
          start = null;
        }
      }
      return found;
    }
  }

  function faultLanes() {
    const parts = card('Faults');
    const faults = run.faults.map((fault) => ({ ...fault, byRow: new Map(fault.rows), most: Math.max(...fault.rows.map(([, count]) => count)) }));
    const left = 92;
    const shown = element('span', { class: 'long' });
    parts.legend.append(shown);
    parts.read = (index, _overlay, _x, isLooking) => {
      const here = faults.filter(({ byRow }) => byRow.has(index)).map(({ name, byRow }) => `${name} ${plain(byRow.get(index))}`);
      const all = faults.map(({ name, total }) => `${name} ${plain(total)}`);
      shown.textContent = isLooking ? here.join(', ') || 'none in this interval' : 'in all: ' + all.join(', ');
    };
    frame(parts, MARGIN.top + MARGIN.bottom + 6 + faults.length * LANE, left, (svg, x) => {
      faults.forEach(({ name, rows, most }, number) => {
        const y = MARGIN.top + number * LANE;
        shape('text', { x: left - 8, y: y + 13, 'text-anchor': 'end' }, svg, name);
        for (const [row, count] of rows) {
          const start = x(Math.max(0, time[row] - run.interval[row]));
          const width = Math.max(2, x(time[row]) - start);
          shape('rect', { x: start, y: y + 3, width, height: LANE - 6, fill: `var(--${colourOf(name)})`, 'fill-opacity': 0.35 + 0.65 * (count / most) }, svg);
        }
      });
    }, false);
  }

  function key() {
    const list = document.getElementById('key');
    const entry = (style, text) => list.append(element('span', {}, element('i', style), text));
    if (run.spans.some(({ kind }) => kind === 'parted')) entry({ class: 'parted' }, 'network parted');
    if (run.spans.some(({ kind, from }) => kind === 'calm' && from < run.end)) entry({ class: 'calm' }, 'calm phase: nothing is done to the network any more');
    for (const [name, faults] of Object.entries(MARKS)) {
      const here = faults.filter((fault) => run.marks.some(([, what]) => what === fault));
      if (here.length) entry({ class: 'tick', style: `background: var(--${name})` }, here.join(', '));
    }
    if (run.flights) entry({ class: 'now' }, 'where the map is');
  }

  key();
  const uneventful = PLOTS.filter((plot) => time.length && isUneventful(plot) && plot.lines[0][0] !== 'running');
  if (time.length) {
    for (const plot of PLOTS) if (!uneventful.includes(plot)) chart(plot);
    if (run.faults.length) faultLanes();
  } else {
    place.append(element('p', { class: 'quiet' }, 'The run ended before its first sample.'));
  }
  const names = uneventful.flatMap(({ lines }) => lines.map(([column]) => run.columns[column].name));
  if (names.length) document.getElementById('not-drawn').textContent = `Not drawn, as nothing of it was seen: ${names.join(', ')}.`;
})();
