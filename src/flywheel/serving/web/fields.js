// A field of the page for each input of a row, as the form of its kind of data makes it.
//
// A form is a module, `/web/field/<kind>.js`, out of the folder of that kind of data. It exports either of these, or both;
// `plain.js` does what it leaves out:
//
// - `field(spec, { choices, about })` makes the field of one input, from its JSON Schema, the values that a person may choose
//   from (`value`, `title`), and what else the server says of this input. It gives an object of
//     body      the element
//     value()   what is given, or a promise of it; undefined: nothing
//     set(value)  shows the value of an example
//     labelled  the control in `body` that the label belongs to, where there is one
//     media     what a person calls an input that is not a value to type: `picture`; such an example is shown when asked for
//     leave()   called when the field is taken off the page
// - `explain(group, { field, measure, most })` draws what each part of an input is worth: `group` as the server answers it
//   (`about`, `weights`, `without`), `field` as made above, where the group belongs to one, and the largest weight of all.
//
// A form imports what it likes of `/web/`: `api.js` makes elements, `file.js` reads files, `weights.js` has the colours.
import { make } from './api.js';
import * as plain from './plain.js';

let number = 0;

export async function formOf(kind) {
  return kind === 'plain' ? plain : import(`/web/field/${kind}.js`);
}

export async function fieldOf(name, spec, { form, about, answers }, choices) {
  const { field = plain.field } = await formOf(form);
  return { ...framed(name, spec, field(spec, { choices, about })), answers, choices };
}

function framed(name, spec, field) {
  const id = `field-${number++}`;
  const label = make(field.labelled ? 'label' : 'span', { text: name, title: name, for: id, class: 'name' });
  const control = field.labelled ?? field.body;
  control.id = id;
  const element = make('div', { class: 'field', 'data-input': name }, label, field.body);
  if (spec.description) {
    element.append(make('small', { text: spec.description, id: `${id}-about`, class: 'quiet' }));
    control.setAttribute('aria-describedby', `${id}-about`);
  }
  return { ...field, name, element };
}
