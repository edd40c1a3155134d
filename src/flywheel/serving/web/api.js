// Asks the server that this page came from; where it wants a token, asks the person for one, once a session.
const KEY = 'flywheel-token';

export const byId = (id) => document.getElementById(id);

export async function ask(path, body) {
  const asked = await send(path, body);
  const reply = asked.status === 401 ? await send(path, body, await newToken()) : asked;
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) {
    if (reply.status === 401) sessionStorage.removeItem(KEY);
    throw new Error(told.error?.message ?? `the server answered ${reply.status}`);
  }
  return told;
}

function send(path, body, token = sessionStorage.getItem(KEY)) {
  const headers = {};
  if (/[^\x21-\x7e]/.test(token ?? '')) { // no header can hold it; kept, it would be sent again and again
    sessionStorage.removeItem(KEY);
    return Promise.reject(new Error('that is no token: it has a character that none has; reload the page'));
  }
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const options = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  return fetch(path, { ...options, headers }).catch(() => { throw new Error('the server does not answer'); });
}

let asking = null;
function newToken() {
  asking ??= new Promise((resolve) => {
    const dialog = byId('token');
    dialog.addEventListener('close', () => {
      const given = byId('token-value').value.trim();
      sessionStorage.setItem(KEY, given);
      asking = null;
      resolve(given);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
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
      return ''; // `#%` is no text
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

// A share in percent, with as many digits as tell it from 0 and from 1.
export function percent(share) {
  const rest = Math.min(share, 1 - share);
  if (rest <= 0) return `${100 * share}%`;
  if (rest < 1e-6) return share > 0.5 ? '>99.9999%' : '<0.0001%';
  return `${(100 * share).toFixed(Math.max(1, Math.ceil(-Math.log10(rest)) - 1))}%`;
}

export const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? '' : 's'}`;

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
