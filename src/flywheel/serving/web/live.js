// The page `/live`: how much is asked, whether it is still right, what has drifted, and who was champion when.
import { ask, bars, byId, chooseTask, count, make, percent, say } from './api.js';
import { barChart, lineChart } from './chart.js';

const [REFRESH_MS, MINUTE_MS] = [30000, 60000];
const TRAITS = 12;
const PARTS = ['tiles', 'volumes', 'quality-said', 'quality', 'drift-said', 'drift', 'champions', 'loop'];
let timer = null;
let shown = null;

async function show(task) {
  clearTimeout(timer);
  if (shown !== task) { // a look may take a while: figures of another task must not stand below this one's name
    for (const part of PARTS) byId(part).replaceChildren();
    byId('found').hidden = true; // headings over nothing look broken
    byId('about').textContent = 'Loading …';
    shown = task;
  }
  timer = setTimeout(() => show(task).catch(say), REFRESH_MS);
  const told = await ask(`/v1/tasks/${encodeURIComponent(task)}/live`);
  if (byId('task').value !== task) return;
  say(null);
  byId('about').textContent = `Version ${told.version}, the last ${told.days} days, updated ${new Date().toLocaleTimeString()}; refreshed every half minute.`;
  byId('found').hidden = false;
  drawTiles(told);
  drawVolumes(told.volumes);
  drawQuality(told.check?.quality);
  drawDrift(told);
  byId('champions').replaceChildren(table(['when', 'what', 'from', 'to', 'why', 'who'], [...told.champions].reverse()
    .map((one) => [when(one.time), one.action, one.before ?? '', one.after, one.why, one.actor])));
  byId('loop').replaceChildren(table(['when', 'what', 'outcome', 'why'], [...told.loop].reverse()
    .map((one) => [when(one.time), `${one.action}, ${one.state}`, one.outcome ?? '', one.why])));
}

const when = (time) => new Date(time).toLocaleString();

function table(header, rows) {
  if (!rows.length) return make('p', { class: 'quiet', text: 'Nothing yet.' });
  const head = make('tr', {}, ...header.map((text) => make('th', { text })));
  return make('div', { class: 'wide', tabindex: '0' }, make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows.map((row) => make('tr', {}, ...row.map((text, place) => make('td', { text: String(text), 'data-name': header[place] })))))));
}

function tile(name, value, about, tone = '') {
  return make('div', { class: 'tile', 'data-tile': name }, make('span', { class: 'quiet', text: name }), make('b', { text: value, class: tone }), make('span', { class: 'quiet', text: about }));
}

function drawTiles(told) {
  const sum = (key) => told.volumes.reduce((total, one) => total + one[key], 0);
  const made = [
    tile('Predictions', sum('predictions').toLocaleString(), count(sum('feedback'), 'word') + ' of feedback'),
  ];
  const check = told.check;
  if (check) {
    const enough = [check.inputs, check.answers, check.quality].some((one) => one.enough);
    const [words, tone] = check.alarm ? ['Needs attention', 'bad'] : enough ? ['No alarm', 'good'] : ['Too early', ''];
    made.push(tile('Verdict', words, check.reasons[0] ?? (enough ? 'as far as these rows tell' : 'too few rows to say anything'), tone));
    const live = check.quality.live;
    made.push(tile('Quality', live ? live.value.toFixed(3) : 'unknown',
      live ? `${check.quality.metric}, ${live.low.toFixed(3)} to ${live.high.toFixed(3)}, ${live.num_rows} rows` : 'nobody has said what is right',
      check.quality.fallen ? 'bad' : ''));
    for (const [name, drift] of [['Inputs', check.inputs], ['Answers', check.answers]]) {
      const drifted = drift.traits.filter((shift) => shift.drifted).length;
      made.push(tile(`${name} drift`, drift.enough ? `${drifted} of ${drift.traits.length}` : 'too few rows', drift.enough ? 'traits have drifted' : count(drift.num_rows, 'row'), drifted ? 'bad' : ''));
    }
  }
  byId('tiles').replaceChildren(...made);
}

function drawVolumes(volumes) {
  const rows = volumes.map((one) => ({
    start: new Date(one.start),
    title: `${when(one.start)}: ${one.predictions} predictions, ${one.feedback} with feedback`,
    first: one.predictions, second: one.feedback,
  }));
  byId('volumes').replaceChildren(barChart(rows, 'predictions over time'),
    make('p', { class: 'quiet', text: 'Predictions in blue, feedback in orange.' }));
}

function drawQuality(quality) {
  const live = quality?.over_time ?? [];
  byId('quality').replaceChildren();
  if (!live.length) {
    byId('quality-said').textContent = 'No right answers are known yet.';
    return;
  }
  const tested = quality.tested?.value ?? null;
  const better = quality.higher_is_better ? 'more' : 'less';
  byId('quality-said').textContent = `${quality.metric} (${better} is better) of answers with feedback`
    + (tested === null ? '.' : `; dashed: ${tested.toFixed(3)} on the test set.`);
  const times = live.map((one) => new Date(one.name));
  const isShort = times.at(-1) - times[0] < times.length * MINUTE_MS; // steps that minutes do not tell apart
  const parts = isShort ? { hour: '2-digit', minute: '2-digit', second: '2-digit' }
    : { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' };
  const rows = live.map((one, place) => ({ ...one, name: times[place].toLocaleString(undefined, parts) }));
  byId('quality').replaceChildren(lineChart(rows, tested, `${quality.metric} over time`),
    table(['version', quality.metric, 'interval', 'rows'], quality.by_version.map((one) => [one.name, one.value.toFixed(4), `${one.low.toFixed(4)} to ${one.high.toFixed(4)}`, one.num_rows])));
}

function drawDrift(told) {
  const check = told.check;
  if (!check) {
    byId('drift-said').textContent = told.why_not;
    byId('drift').replaceChildren();
    return;
  }
  const hidden = check.num_hidden ? ` Of ${count(check.num_hidden, 'row')} the input was not kept (record: hash).` : '';
  byId('drift-said').textContent = `The latest ${count(check.num_rows, 'prediction')} against what the version was trained on: the share of rows that would have to change.${hidden}`;
  const made = [['inputs', check.inputs], ['answers', check.answers]].map(([name, drift]) => {
    const shifts = [...drift.traits].sort((one, other) => other.distance.effect - one.distance.effect).slice(0, TRAITS);
    const rows = shifts.map((shift) => ({ name: `${shift.name}${shift.drifted ? ' ⚠' : ''}`, value: shift.distance.effect, of: 1, shown: percent(shift.distance.effect) }));
    return make('div', { 'data-drift': name }, make('h3', { text: name }), rows.length ? bars(rows) : make('p', { class: 'quiet', text: 'No rows to compare.' }));
  });
  byId('drift').replaceChildren(...made);
}

chooseTask(show, ['to-try', 'to-docs']).catch(say);
