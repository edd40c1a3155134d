// The columns of a row that an answer depends on; their forms are plain ones.
import { ranked } from '/web/weights.js';

export function explain(group, { measure }) {
  const { names, values, usual } = group.about;
  const brief = (value) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value ?? 'missing');
  return ranked(group, names.map((name, place) => `${name}: ${brief(values[place])} (usually ${brief(usual[place])})`), measure);
}
