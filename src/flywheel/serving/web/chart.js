// Small charts in SVG: bars over time, and a line with its interval.
import { byId } from './api.js';

const SPACE = 'http://www.w3.org/2000/svg';
const [HEIGHT, LEFT, BOTTOM, TOP] = [180, 44, 22, 8];
const [NARROW, NAME, DAY, DAY_MS] = [280, 90, 60, 86_400_000];

// A unit of a chart is a pixel of the page: letters are as large on a phone as on a wide screen.
const widthHere = () => Math.max(NARROW, byId('tiles').clientWidth);

// What stands below a place of the axis; beside the edge it ends there.
function below(svg, x, width, name) {
  const atEdge = x > width - NAME / 2;
  svg.append(node('text', { x: atEdge ? width : x, y: HEIGHT - 6, 'text-anchor': atEdge ? 'end' : 'middle' }, name));
}

function node(tag, attributes, text) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function frame(label, width) {
  const svg = node('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': label });
  svg.append(node('line', { class: 'axis', x1: LEFT, x2: width, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
  return svg;
}

function scale(svg, low, high, digits) {
  const y = (value) => HEIGHT - BOTTOM - (value - low) / (high - low || 1) * (HEIGHT - BOTTOM - TOP);
  for (const value of new Set(digits ? [low, (low + high) / 2, high] : [low, Math.round(high / 2), high])) {
    svg.append(node('text', { x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, value.toFixed(digits)));
  }
  return y;
}

// Two bars a step: `rows` are {start, title, first, second}, at equal steps of time. Each midnight is marked.
export function barChart(rows, label) {
  const width = widthHere();
  const svg = frame(label, width);
  const most = Math.max(2, ...rows.map((row) => Math.max(row.first, row.second)));
  const y = scale(svg, 0, most, 0);
  const step = (width - LEFT) / Math.max(1, rows.length);
  rows.forEach((row, place) => {
    const x = LEFT + place * step;
    for (const [kind, value, share] of [['bar', row.first, 0.8], ['bar-2', row.second, 0.4]]) {
      const bar = node('rect', { class: kind, x: x + step * 0.1, width: step * share, y: y(value), height: Math.max(0, HEIGHT - BOTTOM - y(value)) });
      bar.append(node('title', {}, row.title));
      svg.append(bar);
    }
  });
  if (rows.length > 1) markDays(svg, rows, step, width);
  return svg;
}

// A line at each midnight; the day's name stands at as many of them as there is room for, all as far apart.
function markDays(svg, rows, step, width) {
  const [first, duration] = [rows[0].start, rows[1].start - rows[0].start];
  const place = (time) => LEFT + (time - first) / duration * step;
  const day = new Date(first);
  day.setHours(24, 0, 0, 0);
  const every = Math.ceil(DAY / (place(+day + DAY_MS) - place(+day)));
  for (let number = 0; place(day) < width; number++, day.setDate(day.getDate() + 1)) {
    svg.append(node('line', { class: 'axis day', x1: place(day), x2: place(day), y1: TOP, y2: HEIGHT - BOTTOM + 4 }));
    if (number % every === 0) below(svg, place(day), width, day.toLocaleDateString(undefined, { month: 'short', day: 'numeric' }));
  }
}

// `rows` are {name, value, low, high}; `marked` is drawn across.
export function lineChart(rows, marked, label) {
  const width = widthHere();
  const svg = frame(label, width);
  const all = [...rows.flatMap((row) => [row.low, row.high]), ...(marked === null ? [] : [marked])];
  const y = scale(svg, Math.min(...all), Math.max(...all), 3);
  const x = (place) => LEFT + (rows.length < 2 ? 0.5 : place / (rows.length - 1)) * (width - LEFT - 20) + 10;
  const points = (key) => rows.map((row, place) => `${x(place)},${y(row[key])}`);
  svg.append(node('polygon', { class: 'band', points: [...points('low'), ...points('high').reverse()].join(' ') }));
  svg.append(node('polyline', { class: 'line', points: points('value').join(' ') }));
  rows.forEach((row, place) => {
    const dot = node('circle', { class: 'dot', cx: x(place), cy: y(row.value), r: 3.5 });
    dot.append(node('title', {}, `${row.name}: ${row.value.toFixed(4)} (${row.low.toFixed(4)} to ${row.high.toFixed(4)})`));
    svg.append(dot);
    if (place % Math.ceil(rows.length * NAME / width) === 0) below(svg, x(place), width, row.name);
  });
  if (marked !== null) svg.append(node('line', { class: 'mark', x1: LEFT, x2: width, y1: y(marked), y2: y(marked) }));
  return svg;
}
