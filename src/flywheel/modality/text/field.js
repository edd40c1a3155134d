// The words of a text that an answer depends on; its form is the plain one.
import { make } from '/web/api.js';
import { colour, without } from '/web/weights.js';

// Words stay readable on the darkest of it; pictures and sounds take more.
const READABLE = 0.55;

export function explain(group, { most, measure }) {
  const drawn = make('p', { class: 'words' });
  let end = 0;
  group.about.spans.forEach(([start, stop], place) => {
    const title = without(group, place, measure);
    const mark = make('mark', { text: slice(group.about.text, start, stop), 'aria-description': title, title });
    mark.style.background = colour(group.weights[place], most, READABLE);
    drawn.append(slice(group.about.text, end, start), mark);
    end = stop;
  });
  drawn.append(slice(group.about.text, end));
  return drawn;
}

// Places count characters, as Python does; strings here count 16-bit halves of them.
const slice = (text, start, stop) => [...text].slice(start, stop).join('');
