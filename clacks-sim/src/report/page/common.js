'use strict';

const run = JSON.parse(document.getElementById('data').textContent);
const GAP = '\u202f';

// One moment is looked at, in all plots and on the map; `null` is the end of the run.
const moment = {
  index: null,
  now: null,
  watchers: [],
  look(index) {
    if (index === this.index) return;
    this.index = index;
    this.tell();
  },
  setNow(now) {
    this.now = now;
    this.tell();
  },
  tell() {
    for (const watcher of this.watchers) watcher();
  },
};

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, parent, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
}

// The last place in an ascending list whose value is at most `wanted`; -1 when there is none.
function lastUpTo(list, wanted, of = (value) => value) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function digits(value, wanted) {
  return String(Number(value.toPrecision(wanted)));
}

function plain(value) {
  if (value === null || value === undefined) return 'unknown';
  const size = Math.abs(value);
  if (size >= 999.95e6) return digits(value / 1e9, 4) + GAP + 'billion';
  if (size >= 999999.5) return digits(value / 1e6, 4) + GAP + 'million';
  const text = size >= 9999.5 ? String(Math.round(value)) : digits(value, 4);
  return text.replace(/^(-?\d+)/, (whole) => whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, GAP) : whole);
}

function short(value) {
  for (const [scale, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (Math.abs(value) >= scale) return digits(value / scale, 4) + letter;
  }
  return digits(value, 4);
}

function withUnit(value, unit) {
  if (value === null || value === undefined) return 'unknown';
  return unit === 'share' ? digits(value * 100, 4) + GAP + '%' : plain(value);
}

const TIME_UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1], ['ms', 0.001], ['µs', 1e-6]];

function duration(seconds) {
  if (seconds === 0) return '0' + GAP + 's';
  if (seconds < 1) return digits(seconds * 1000, 3) + GAP + 'ms';
  if (seconds < 60) return digits(seconds, 3) + GAP + 's';
  const unit = TIME_UNITS.findIndex(([, scale]) => seconds >= scale);
  const [[large, scale], [small, less]] = TIME_UNITS.slice(unit, unit + 2);
  const smalls = Math.floor(seconds / less + 1e-9);
  const rest = smalls % (scale / less);
  const first = Math.floor(smalls / (scale / less)) + GAP + large;
  return rest === 0 ? first : first + ' ' + rest + GAP + small;
}

// Round values from 0 to `end`, about so many.
function roundTicks(end, wanted, wholeOnly) {
  if (!(end > 0)) return [0, 1];
  const raw = end / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  if (wholeOnly) step = Math.max(1, step);
  const count = Math.max(1, Math.ceil(end / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, place) => Number((place * step).toPrecision(12)));
}

// Round moments from 0 to `end`, in a unit in which their numbers are small.
function timeTicks(end, wanted) {
  if (!(end > 0)) return { unit: 's', scale: 1, at: [0] };
  const [unit, scale] = TIME_UNITS.find(([, size]) => end >= size * 3) ?? TIME_UNITS.at(-1);
  const steps = { d: [0.25, 0.5, 1, 2, 7, 14, 28], h: [0.25, 0.5, 1, 2, 3, 6, 12, 24], min: [0.25, 0.5, 1, 2, 5, 10, 15, 30, 60], s: [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60] }[unit];
  const raw = end / scale / wanted;
  const step = steps?.find((size) => size >= raw * 0.999) ?? roundTicks(raw * 5, 5, false)[1];
  const count = Math.floor(end / scale / step + 1e-9);
  return { unit, scale, at: Array.from({ length: count + 1 }, (_, place) => Number((place * step).toPrecision(12)) * scale) };
}
