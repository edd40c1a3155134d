// The page `/`: a form from the task's schema, the answer, what it depends on, and what the person says of it.
import { ask, bars, byId, chooseTask, count, make, percent, say } from './api.js';
import { explanationOf } from './explain.js';
import { fieldOf } from './fields.js';

const MANY = 6;
const [SHOWN, NAMED] = [12, 10];
let page = null;
let fields = [];
let titles = new Map();
let asked = 0;
let shows = 0;

async function show(task) {
  const own = ++shows;
  asked++; // what is on its way is of another form
  say(null);
  byId('result').hidden = true;
  const path = `/v1/tasks/${encodeURIComponent(task)}`;
  const [described, choices] = await Promise.all([ask(path), ask(`${path}/choices`)]);
  const made = await Promise.all(Object.entries(described.schema.properties).map(([name, spec]) =>
    fieldOf(name, spec, described.fields[name], choices.inputs[name] ?? [])));
  if (own !== shows) return;
  asked++;
  byId('result').hidden = true;
  page = { ...described, path, example: choices.example, items: made.find((field) => field.answers)?.choices ?? [] };
  titles = new Map(Object.values(choices.inputs).flat().filter((one) => one.title).map((one) => [one.value, one.title]));
  const metric = described.metrics.accuracy;
  const good = metric === undefined || metric === null ? '' : `, ${(100 * metric).toFixed(1)}% right on its test set`;
  for (const field of fields) field.leave?.();
  fields = made;
  const worse = described.worse_than ? ` Its own report calls it worse than ${described.worse_than.replaceAll('_', ' ')}.` : '';
  byId('about').textContent = `${purpose(described, fields)} Version ${described.version}${good}.${worse}`;
  byId('fields').className = fields.length > MANY ? 'many' : '';
  byId('fields').replaceChildren(...fields.map((field) => field.element));
  byId('example').hidden = !page.example;
  if (page.example && !fields.some((field) => field.media)) fill();
}

// What goes in and what comes out, in a sentence.
function purpose({ kind, classes }, given) {
  const media = given.map((field) => field.media).filter(Boolean);
  const row = media.length === 1 && given.length === 1 ? `a ${media[0]}` : given.length === 1 ? `a ${given[0].name}`
    : `a row of ${given.length} values`;
  if (kind === 'item') return 'Recommends the items that a user is likely to choose next.';
  if (kind === 'number') return `Estimates a number from ${row}.`;
  const named = (classes ?? []).slice(0, NAMED).join(', ');
  return `Says which of ${count((classes ?? []).length, 'class', 'classes')} ${row} belongs to: ${named}${(classes ?? []).length > NAMED ? ', …' : ''}.`;
}

function fill() {
  for (const field of fields) field.set(page.example[field.name]);
}

async function predict(event) {
  event.preventDefault();
  say(null);
  if (!page) return;
  const own = ++asked;
  const [{ path }, from] = [page, fields];
  byId('predict').disabled = true;
  try {
    const row = {};
    for (const field of from) {
      const value = await field.value();
      if (value !== undefined) row[field.name] = value;
    }
    const told = await ask(`${path}/predict`, row);
    if (own !== asked) return;
    showAnswer(told);
    byId('why').textContent = 'Each part is hidden in turn, and the row asked again …';
    byId('explanation').replaceChildren();
    ask(`${path}/explain`, row)
      .then((found) => explanationOf(found, from))
      .then((explained) => { if (own === asked) showExplanation(explained); })
      .catch((error) => { if (own === asked) byId('why').textContent = `Not explained: ${error.message}`; });
  } catch (error) {
    if (own !== asked) return;
    byId('result').hidden = true;
    say(error);
  } finally {
    byId('predict').disabled = false;
  }
}

function showExplanation({ said, figures }) {
  byId('why').textContent = said;
  byId('explanation').replaceChildren(...figures);
}

function showAnswer(told) {
  const answer = told.predictions[0];
  byId('result').hidden = false;
  const label = answer.label === null ? 'nothing' : answer.label;
  byId('answer').textContent = titles.get(String(label)) ?? (typeof label === 'number' ? label.toPrecision(6) : label);
  byId('scores').replaceChildren(scores(answer));
  byId('version').textContent = `${told.task}/${told.version}, model ${told.model_sha256.slice(0, 12)}, `
    + `prediction ${answer.prediction_id}`;
  byId('said').textContent = '';
  for (const id of ['right', 'wrong']) byId(id).disabled = false;
  byId('truth').hidden = true;
  page.answer = answer;
}

function scores(answer) {
  if (Array.isArray(answer.items)) {
    return bars(answer.items.map((item, place) => ({
      name: titles.get(String(item)) ?? String(item), value: answer.scores[place], shown: answer.scores[place].toPrecision(3),
    })));
  }
  const known = page.classes ?? [];
  const rows = known.map((name) => ({ name, value: answer[`probability_${name}`] })).filter((row) => row.value !== undefined);
  rows.sort((one, other) => other.value - one.value);
  return bars(rows.slice(0, SHOWN).map((row) => ({ ...row, of: 1, shown: percent(row.value) })));
}

async function tell(said) {
  for (const id of ['right', 'wrong']) byId(id).disabled = true;
  try {
    const told = await ask('/v1/feedback', { prediction_id: page.answer.prediction_id, ...said });
    byId('said').textContent = told.outcome === 'known' ? 'Already stored.' : 'Stored. Thank you.';
    byId('truth').hidden = true;
  } catch (error) {
    byId('said').textContent = `Not stored: ${error.message}`;
    for (const id of ['right', 'wrong']) byId(id).disabled = false;
  }
}

// What is right instead: one of the classes, a number, or an item.
function askTruth() {
  const kind = page.classes ? make('select', { 'aria-label': 'right answer' })
    : make('input', { 'aria-label': 'right answer', type: typeof page.answer.label === 'number' ? 'number' : 'text', step: 'any' });
  const items = Array.isArray(page.answer.items) ? page.items : [];
  if (items.length) {
    kind.setAttribute('list', 'items');
    kind.placeholder = 'type or choose';
  }
  // Nothing is chosen at first: a click too many must not make a label of whichever class is named first.
  if (page.classes) {
    kind.append(make('option', { text: 'choose', value: '' }), ...page.classes.map((name) => make('option', { text: name, value: name })));
  }
  const send = make('button', { type: 'button', text: 'Send', id: 'send', disabled: '' });
  kind.addEventListener('input', () => { send.disabled = kind.value.trim() === ''; });
  send.addEventListener('click', () => {
    const given = kind.value.trim();
    if (given === '') return;
    const named = items.find((one) => one.value === given) ?? items.find((one) => one.title === given);
    if (items.length && !named) { // it would be learnt as an item of its own
      byId('said').textContent = 'There is no such item: choose one of the list.';
      return;
    }
    tell({ correct: false, label: kind.type === 'number' ? Number(given) : named?.value ?? kind.value });
  });
  const none = make('button', { type: 'button', class: 'plain', text: 'I do not know' });
  none.addEventListener('click', () => tell({ correct: false }));
  const list = make('datalist', { id: 'items' }, ...items.map((one) => make('option', { value: one.title ?? one.value })));
  byId('truth').replaceChildren(kind, list, ' ', send, ' ', none);
  byId('truth').hidden = false;
}

byId('row').addEventListener('submit', predict);
byId('example').addEventListener('click', fill);
byId('right').addEventListener('click', () => tell({ correct: true }));
byId('wrong').addEventListener('click', askTruth);
chooseTask(show, ['to-live', 'to-docs']).catch(say);
