// The form of an input that has none of its own: a text, a number, a choice, a list or a file, by its JSON Schema.
import { make } from './api.js';
import { base64 } from './file.js';
import { ranked } from './weights.js';

let number = 0;

export function field(spec, { choices }) {
  const options = [spec, ...(spec.anyOf ?? []), ...(spec.allOf ?? [])];
  const types = options.flatMap((one) => one.type ?? []);
  if (options.some((one) => one.contentEncoding)) return fileField(options);
  return types.includes('array') ? listField(choices) : valueField(spec, types, choices);
}

// The parts by their names, where the server gives any.
export function explain(group, { measure }) {
  return ranked(group, group.about.names ?? group.weights.map((_, place) => `part ${place + 1}`), measure);
}

function fileField(options) {
  const accept = options.find((one) => one.contentMediaType)?.contentMediaType ?? '';
  const control = make('input', { type: 'file', accept });
  const said = make('span', { class: 'quiet' });
  let held;
  control.addEventListener('change', () => {
    held = control.files[0] && base64(control.files[0]);
    said.textContent = '';
  });
  return {
    media: 'file',
    body: make('div', {}, control, ' ', said),
    labelled: control,
    set: (value) => {
      control.value = '';
      held = value;
      said.textContent = 'the example';
    },
    value: () => held,
  };
}

function valueField(spec, types, choices) {
  const isBoolean = types.includes('boolean');
  const values = (spec.enum ?? (isBoolean ? ['true', 'false'] : null))?.filter((value) => value !== null);
  const isNumber = types.includes('number') || types.includes('integer');
  const isText = types.includes('string');
  const mayMiss = types.includes('null') || Boolean(spec.enum?.includes(null));
  let control;
  if (values) {
    control = make('select', {}, make('option', { text: '', value: '' }), ...values.map(option));
  } else if (spec.minLength && isText) {
    control = make('textarea', { spellcheck: 'false' });
  } else {
    // Not `number`, which would drop `2,75` and `12%` without a word: the server says what it cannot read.
    control = make('input', { type: 'text', ...(isNumber && !isText ? { inputmode: 'decimal' } : {}) });
  }
  const body = make('div', {}, control);
  if (choices.length && control.tagName === 'INPUT') {
    const list = make('datalist', { id: `choices-${number++}` }, ...choices.map((one) => make('option', { value: one.value, text: one.title ?? one.value })));
    control.setAttribute('list', list.id);
    body.append(list);
  }
  return {
    body,
    labelled: control,
    set: (value) => {
      const text = value === null || value === undefined ? '' : String(value);
      control.value = text;
      if (values && control.value !== text) {
        control.append(option(text)); // an example from a table says `yes` for true
        control.value = text;
      }
    },
    value: () => {
      const given = control.value;
      if (given === '') return mayMiss ? null : undefined;
      if (isBoolean && (given === 'true' || given === 'false')) return given === 'true';
      // A column of a table is read as the table is written: 1.001 may be a thousand and one.
      return isNumber && !isText && !mayMiss && Number.isFinite(Number(given)) ? Number(given) : given;
    },
  };
}

const option = (value) => make('option', { text: String(value), value: String(value) });

// Several values, chosen by what they are called or typed.
function listField(choices) {
  let held = [];
  const called = new Map(choices.map((one) => [one.value, one.title ?? one.value]));
  const values = new Map(choices.map((one) => [one.title ?? one.value, one.value]));
  const chips = make('div', { class: 'chips' });
  const control = make('input', { type: 'text', placeholder: 'type or choose, then Enter' });
  const list = make('datalist', { id: `choices-${number++}` }, ...choices.map((one) => make('option', { value: one.title ?? one.value })));
  control.setAttribute('list', list.id);
  const draw = () => chips.replaceChildren(...held.map((value, place) => {
    const chip = make('button', { type: 'button', class: 'plain', text: `${called.get(value) ?? value} ×`, title: 'take it out' });
    chip.addEventListener('click', () => { held.splice(place, 1); draw(); });
    return chip;
  }));
  const add = () => {
    const given = control.value.trim();
    if (given) held.push(values.get(given) ?? given);
    control.value = '';
    draw();
  };
  control.addEventListener('change', add);
  control.addEventListener('keydown', (event) => { if (event.key === 'Enter') { event.preventDefault(); add(); } });
  return {
    body: make('div', {}, control, list, chips),
    labelled: control,
    set: (value) => { held = Array.isArray(value) ? value.map(String) : []; draw(); },
    value: () => { add(); return held.length ? held : undefined; },
  };
}
