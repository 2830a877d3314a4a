'use strict';

const run = JSON.parse(document.getElementById('data').textContent);

// The moment that the map shows. Plots draw a line at it.
const clock = {
  now: 0,
  listeners: [],
  set(now) {
    this.now = Math.min(run.end, Math.max(0, now));
    for (const listener of this.listeners) listener();
  },
};

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function colour(name) {
  return getComputedStyle(document.documentElement)
    .getPropertyValue('--' + name)
    .trim();
}

const ROLE_COLOURS = ['red', 'orange', 'purple', 'blue', 'grey'];
const roles = run.summary.roles.map(({ role }) => role).filter((role) => role !== 'none');

// The name of the colour of a role, in the map and in plots.
function roleColour(role) {
  return roles.includes(role) ? ROLE_COLOURS[roles.indexOf(role) % ROLE_COLOURS.length] : 'green';
}

// Calls back when the colours of the page change.
function onColours(listener) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', listener);
}

// The index of the last item that is at most `wanted`; -1 if there is none.
function lastUpTo(list, wanted, of = (item) => item) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const numbers = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 });
const wholes = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

// Same form as in the terminal: groups of three digits with spaces between them.
function plain(value) {
  if (value === null || value === undefined) return 'unknown';
  const format = Number.isInteger(value) || Math.abs(value) >= 1000 ? wholes : numbers;
  return format.format(value).replaceAll(',', '\u202f');
}

function withUnit(value, unit) {
  if (value === null || value === undefined) return 'unknown';
  return unit === 'share' ? plain(value * 100) + '\u202f%' : plain(value);
}

// `step` is the smallest difference that the text must show.
function duration(seconds, step = seconds / 1000) {
  if (seconds < 60)
    return `${Number(seconds.toFixed(Math.max(0, Math.min(6, Math.ceil(-Math.log10(step || 1))))))}\u202fs`;
  const digits = step < 1 ? Math.min(3, Math.ceil(-Math.log10(step))) : 0;
  const [d, h, min] = [
    Math.floor(seconds / 86400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  const s = Number((seconds % 60).toFixed(digits));
  const parts = [
    [d, 'd'],
    [h, 'h'],
    [min, 'min'],
    [s, 's'],
  ].filter(([value]) => value);
  return parts.map(([value, unit]) => `${value}\u202f${unit}`).join(' ');
}
