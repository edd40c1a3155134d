// Draws what an answer depends on, each input as its form draws it.
import { make } from './api.js';
import { formOf } from './fields.js';
import * as plain from './plain.js';
import { shown } from './weights.js';

// What is said of an explanation, and its figures.
export async function explanationOf(found, fields) {
  const groups = found.groups.filter((group) => group.weights.length);
  const most = Math.max(...groups.flatMap((group) => group.weights.map(Math.abs)), 0);
  if (!groups.length) return { said: 'This row has no parts that could be hidden.', figures: [] };
  if (most < 1e-9) return { said: 'Hiding any one part changes nothing.', figures: [] };
  const value = shown(found.measure, found.value);
  return {
    said: `Each part was hidden in turn. Red ones speak for the answer (${value}), blue ones against it.`,
    figures: await Promise.all(groups.map((group) => figureOf(group, { measure: found.measure, most }, fields))),
  };
}

async function figureOf(group, scale, fields) {
  const { explain = plain.explain } = await formOf(group.form);
  const field = fields.find(({ name }) => name === group.input || group.input.endsWith(`: ${name}`));
  return make('figure', { 'data-kind': group.kind }, explain(group, { ...scale, field }));
}
