// Draws what an answer hangs on: red speaks for it, blue against it.
import { bars, byId, make, percent } from './api.js';

const SHOWN = 15;

export function drawExplanation(found, fields) {
  const groups = found.groups.filter((group) => group.weights.length);
  const most = Math.max(...groups.flatMap((group) => group.weights.map(Math.abs)), 0);
  byId('explanation').replaceChildren();
  if (!groups.length) {
    byId('why').textContent = 'This row has no parts that could be hidden.';
    return;
  }
  if (most < 1e-9) {
    byId('why').textContent = 'Hiding any one part changes nothing.';
    return;
  }
  const value = shown(found.measure, found.value);
  byId('why').textContent = `Each part was hidden in turn. Red ones speak for the answer (${value}), blue ones against it.`;
  for (const group of groups) {
    const drawn = DRAW[group.kind](group, { measure: found.measure, most, fields });
    byId('explanation').append(make('figure', { 'data-kind': group.kind }, drawn));
  }
}

function shown(measure, value) {
  return measure === 'probability' ? percent(value) : value.toPrecision(4);
}

// Words stay readable on the darkest of it; pictures and sounds take more.
const READABLE = 0.55;

function colour(weight, most, darkest = 0.85) {
  const side = weight >= 0 ? '--for' : '--against';
  const rgb = getComputedStyle(document.documentElement).getPropertyValue(side);
  return `rgba(${rgb}, ${(darkest * Math.abs(weight) / most).toFixed(3)})`;
}

function full(weight) {
  return `rgb(${getComputedStyle(document.documentElement).getPropertyValue(weight >= 0 ? '--for' : '--against')})`;
}

const without = (group, place, measure) => `${shown(measure, group.without[place])} without it`;

function grid(group, { most, fields }) {
  const own = fields.find((field) => field.name === group.input || group.input.endsWith(`: ${field.name}`));
  const { rows, columns } = group.about;
  const side = 280 / Math.max(group.about.height, group.about.width);
  const canvas = make('canvas', { width: Math.round(group.about.width * side), height: Math.round(group.about.height * side), role: 'img', 'aria-label': 'where the answer comes from' });
  const pen = canvas.getContext('2d');
  if (own?.canvas) {
    pen.filter = 'grayscale(1)';
    pen.drawImage(own.canvas, 0, 0, canvas.width, canvas.height);
    pen.filter = 'none';
  }
  const [w, h] = [canvas.width / columns, canvas.height / rows];
  group.weights.forEach((weight, place) => {
    pen.fillStyle = colour(weight, most);
    pen.fillRect((place % columns) * w, Math.floor(place / columns) * h, w + 0.5, h + 0.5);
  });
  return canvas;
}

function words(group, { most, measure }) {
  const drawn = make('p', { class: 'words' });
  let end = 0;
  group.about.spans.forEach(([start, stop], place) => {
    const mark = make('mark', { text: slice(group.about.text, start, stop), 'aria-description': without(group, place, measure), title: without(group, place, measure) });
    mark.style.background = colour(group.weights[place], most, READABLE);
    drawn.append(slice(group.about.text, end, start), mark);
    end = stop;
  });
  drawn.append(slice(group.about.text, end));
  return drawn;
}

// Places count characters, as Python does; strings here count 16-bit halves of them.
const slice = (text, start, stop) => [...text].slice(start, stop).join('');

function spans(group, { most, measure }) {
  const [width, height] = [560, 120];
  const { seconds, outline } = group.about;
  const canvas = make('canvas', { width, height, role: 'img', 'aria-label': 'when the answer comes' });
  const pen = canvas.getContext('2d');
  const length = seconds[seconds.length - 1];
  group.weights.forEach((weight, place) => {
    pen.fillStyle = colour(weight, most);
    const start = seconds[place] / length * width;
    pen.fillRect(start, 0, seconds[place + 1] / length * width - start, height);
  });
  pen.fillStyle = getComputedStyle(document.body).color;
  outline.forEach((peak, place) => {
    const tall = Math.max(1, peak * height * 0.9);
    pen.fillRect(place / outline.length * width, (height - tall) / 2, Math.max(1, width / outline.length - 1), tall);
  });
  return make('div', {}, canvas, make('p', { class: 'quiet', text: `${length.toFixed(2)} s, as the model hears it` }));
}

function ranked(group, names, measure) {
  const rows = group.weights.map((weight, place) => ({ name: names[place], value: weight, shown: shown(measure, group.without[place]), title: without(group, place, measure) }));
  rows.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const most = rows.slice(0, SHOWN);
  const drawn = make('div', {}, make('p', { class: 'quiet', text: 'At the right: the answer’s value without the part.' }), bars(most, { colour: full }));
  if (rows.length > SHOWN) drawn.append(make('p', { class: 'quiet', text: `and ${rows.length - SHOWN} more that matter less` }));
  return drawn;
}

function columns(group, { measure }) {
  const { names, values, usual } = group.about;
  const brief = (value) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value ?? 'missing');
  return ranked(group, names.map((name, place) => `${name}: ${brief(values[place])} (usually ${brief(usual[place])})`), measure);
}

function items(group, { measure }) {
  return ranked(group, group.about.titles, measure);
}

const DRAW = { grid, words, spans, columns, items };
