// The items of a history that an answer depends on; users and items are chosen in plain forms.
import { ranked } from '/web/weights.js';

export function explain(group, { measure }) {
  return ranked(group, group.about.titles, measure);
}
