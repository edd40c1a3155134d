// Asks the server that this page came from; where it wants a token, asks the person for one, once a session.
const KEY = 'flywheel-token';

export const byId = (id) => document.getElementById(id);

export async function ask(path, body) {
  const reply = await sent(path, body && JSON.stringify(body));
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(told.error?.message ?? `the server answered ${reply.status}`);
  return told;
}

// The reply to a request, whatever it is; `body` is JSON or a FormData.
export async function sent(path, body) {
  let reply = await send(path, body);
  for (let words = 'This server wants a token'; reply.status === 401; words = 'That token is not known') {
    reply = await send(path, body, await newToken(words));
  }
  return reply;
}

function send(path, body, token = sessionStorage.getItem(KEY)) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (typeof body === 'string') headers['content-type'] = 'application/json'; // a form brings its own
  const options = body === undefined ? {} : { method: 'POST', body };
  return fetch(path, { ...options, headers }).catch(() => { throw new Error('the server does not answer'); });
}

// All that wait for a token wait for the same dialog.
let asking = null;
function newToken(words) {
  asking ??= askPerson(words).finally(() => { asking = null; });
  return asking;
}

async function askPerson(words) {
  const field = make('input', { id: 'token-value', type: 'password', autocomplete: 'off', required: '' });
  const form = make('form', { method: 'dialog' }, make('p', {}, make('label', { text: `${words} ` }, field)),
    make('p', {}, make('button', { text: 'Go on' })));
  const dialog = make('dialog', {}, form);
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener('close', resolve, { once: true }); });
  dialog.remove();
  const given = field.value.trim();
  if (!given) throw new Error('without a token this server says nothing; reload the page to give one');
  if (/[^\x21-\x7e]/.test(given)) return askPerson('A token has no such characters'); // no header can hold them
  sessionStorage.setItem(KEY, given);
  return given;
}

export function say(problem) {
  byId('problem').hidden = !problem;
  byId('problem').textContent = problem ? problem.message ?? String(problem) : '';
}

export function make(tag, { text, title, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (title !== undefined) element.title = title;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Fills the list of tasks and calls `show` with the one that the address names, now and whenever another is chosen.
export async function chooseTask(show, links) {
  const select = byId('task');
  const names = (await ask('/v1/tasks')).tasks.map((one) => one.task);
  select.replaceChildren(...names.map((name) => make('option', { text: name })));
  const named = () => {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return ''; // `#%` is not text
    }
  };
  const go = () => {
    if (names.includes(named())) select.value = named();
    for (const id of links) byId(id).hash = select.value;
    return show(select.value);
  };
  select.addEventListener('change', () => { location.hash = select.value; });
  window.addEventListener('hashchange', () => go().catch(say));
  await go();
}

// A share in percent; what is not quite none or all of it does not become 0% or 100% by rounding.
export function percent(share) {
  const rest = Math.min(share, 1 - share);
  if (rest > 0 && rest < 0.0005) return share > 0.5 ? '>99.9%' : '<0.1%';
  return `${(100 * share).toFixed(1)}%`;
}

export const count = (number, word, words = `${word}s`) => `${number.toLocaleString()} ${number === 1 ? word : words}`;

// Bars with their names and numbers, each from 0 to its value; negative ones to the left of 0.
export function bars(rows, { colour } = {}) {
  const most = Math.max(...rows.map((row) => Math.abs(row.value)), 1e-9);
  const both = rows.some((row) => row.value < 0);
  const made = make('div', { class: 'bars' });
  for (const row of rows) {
    const fill = make('div', { class: 'fill' });
    const share = Math.abs(row.value) / (row.of ?? most) * (both ? 50 : 100);
    fill.style.left = both ? `${row.value < 0 ? 50 - share : 50}%` : '0';
    fill.style.width = `${share}%`;
    if (colour) fill.style.background = colour(row.value, most);
    const track = make('div', { class: 'track', title: row.title ?? row.shown }, fill);
    made.append(make('span', { class: 'name', text: row.name, title: row.name }), track,
      make('span', { class: 'number', text: row.shown }));
  }
  return made;
}
