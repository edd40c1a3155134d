// What the parts of a row are worth, as colours and bars: red speaks for the answer, blue against it.
import { bars, make, percent } from './api.js';

const SHOWN = 15;

export function shown(measure, value) {
  return measure === 'probability' ? percent(value) : value.toPrecision(4);
}

export function colour(weight, most, darkest = 0.85) {
  const side = weight >= 0 ? '--for' : '--against';
  const rgb = getComputedStyle(document.documentElement).getPropertyValue(side);
  return `rgba(${rgb}, ${(darkest * Math.abs(weight) / most).toFixed(3)})`;
}

function full(weight) {
  return `rgb(${getComputedStyle(document.documentElement).getPropertyValue(weight >= 0 ? '--for' : '--against')})`;
}

export const without = (group, place, measure) => `${shown(measure, group.without[place])} without it`;

export function ranked(group, names, measure) {
  const rows = group.weights.map((weight, place) => ({ name: names[place], value: weight, shown: shown(measure, group.without[place]), title: without(group, place, measure) }));
  rows.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const most = rows.slice(0, SHOWN);
  const drawn = make('div', {}, make('p', { class: 'quiet', text: 'At the right: the answer’s value without the part.' }), bars(most, { colour: full }));
  if (rows.length > SHOWN) drawn.append(make('p', { class: 'quiet', text: `and ${rows.length - SHOWN} more that matter less` }));
  return drawn;
}
