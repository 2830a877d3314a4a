'use strict';

// Texts of strangers only ever become text, never markup.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Sets a text only if it differs, so that screen readers and selections are not disturbed.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Makes the children of a list equal to `items`, and reuses those with the same key.
function keep(list, items, keyOf, make, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = keyOf(item);
    const child = known.get(key) ?? make(item);
    known.delete(key);
    child.dataset.key = key;
    update?.(child, item);
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
  });
  for (const child of known.values()) child.remove();
}

const wholes = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

// Groups of three digits with narrow spaces between them.
function plain(value, format = wholes) {
  return format.format(value).replaceAll(',', '\u202f');
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${plain(bytes, unit ? numbers : wholes)}\u202f${units[unit]}`;
}

// The two largest units.
function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [
    [Math.floor(seconds / 86400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value);
  if (first < 0) return '0\u202fs';
  const shown = parts.slice(first, first + 2).filter(([value]) => value);
  return shown.map(([value, unit]) => `${value}\u202f${unit}`).join(' ');
}

function clockTime(time) {
  return new Date(time).toLocaleTimeString('en-GB');
}

function colour(name) {
  return getComputedStyle(document.documentElement)
    .getPropertyValue('--' + name)
    .trim();
}
