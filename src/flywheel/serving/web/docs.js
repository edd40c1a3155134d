// The page `/docs`: every route for the task that is chosen, with requests to copy, a form to send one, and its types.
import { ask, byId, chooseTask, make, say, sent } from './api.js';

let api = null;

async function show(task) {
  say(null);
  api = await ask(`/openapi.json?task=${encodeURIComponent(task)}`);
  byId('about').textContent = `Version ${api.info.version}, as an OpenAPI document: ${api.servers[0].url}/openapi.json. `
    + 'What is in capitals in a request is for you to fill in.';
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const [tag] = operation.tags;
      if (!groups.has(tag)) groups.set(tag, make('section', {}, make('h2', { text: tag })));
      groups.get(tag).append(routeOf(method, path, operation));
    }
  }
  byId('routes').replaceChildren(...groups.values());
  byId('routes').querySelector('details').open = true;
}

function routeOf(method, path, operation) {
  const about = operation.description ?? operation.summary;
  const route = make('details', { class: 'route' }, make('summary', {},
    make('b', { text: method.toUpperCase() }), make('code', { text: path }), make('span', { class: 'quiet', text: about })));
  const fill = () => route.append(samplesOf(operation), formOf(method, path, operation), ...typesOf(operation));
  route.addEventListener('toggle', fill, { once: true });
  return route;
}

function samplesOf(operation) {
  const shown = make('pre', { tabindex: '0' });
  const copy = make('button', { type: 'button', class: 'plain', text: 'Copy' });
  copy.addEventListener('click', () => {
    getSelection().selectAllChildren(shown);
    navigator.clipboard?.writeText(shown.textContent); // is not there where the page came without encryption
  });
  const tabs = operation['x-codeSamples'].map(({ label, source }) => {
    const tab = make('button', { type: 'button', class: 'plain', text: label });
    tab.addEventListener('click', () => {
      shown.textContent = source;
      for (const one of tabs) one.setAttribute('aria-pressed', one === tab);
    });
    return tab;
  });
  tabs[0].click();
  return make('div', { class: 'sample' }, make('p', { class: 'chips' }, ...tabs, copy), shown);
}

// Sends the example, or what the person makes of it: JSON, or a file and texts where the task takes a file.
function formOf(method, path, operation) {
  const url = path.replace(/\{(\w+)\}/g, (_, name) => operation.parameters.find((one) => one.name === name).example);
  const { 'application/json': json, 'multipart/form-data': parts } = operation.requestBody?.content ?? {};
  const body = json && (json.example || !parts) ? jsonField(json.example ?? {}) : parts && partFields(parts.example);
  const reply = make('pre', { tabindex: '0', role: 'status', hidden: '' });
  const button = make('button', { type: 'submit', text: `Send to ${url}` });
  const form = make('form', { autocomplete: 'off' }, ...body?.elements ?? [], make('p', {}, button), reply);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    reply.hidden = false;
    reply.textContent = '…';
    try {
      const found = await sent(url, body?.value());
      const text = await found.text();
      reply.textContent = `${found.status} ${found.statusText}\n${isJson(found) ? laidOut(JSON.parse(text)) : text}`;
    } catch (error) {
      reply.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  });
  return form;
}

function jsonField(example) {
  const text = laidOut(example);
  const rows = String(Math.min(12, text.split('\n').length));
  const area = make('textarea', { rows, spellcheck: 'false', 'aria-label': 'JSON to send' });
  area.value = text;
  return { elements: [area], value: () => area.value };
}

function partFields(example) {
  const fields = Object.entries(example).map(([name, value]) => {
    const control = make('input', { name, ...(value === 'FILE' ? { type: 'file', required: '' } : { type: 'text', value }) });
    return make('p', {}, make('label', { text: `${name} ` }, control));
  });
  return {
    elements: fields,
    value: () => {
      const form = new FormData();
      for (const control of fields.flatMap((field) => [...field.querySelectorAll('input')])) {
        form.append(control.name, control.files?.[0] ?? control.value);
      }
      return form;
    },
  };
}

const isJson = (reply) => reply.headers.get('content-type')?.startsWith('application/json');

// JSON on one line where it fits, else an item a line.
function laidOut(value, indent = '') {
  const line = JSON.stringify(value);
  if (typeof value !== 'object' || line.length + indent.length < 90) return line;
  const deeper = `${indent}  `;
  const [start, end] = Array.isArray(value) ? '[]' : '{}';
  const items = Object.entries(value).map(([key, one]) =>
    (Array.isArray(value) ? '' : `${JSON.stringify(key)}: `) + laidOut(one, deeper));
  return `${start}\n${deeper}${items.join(`,\n${deeper}`)}\n${indent}${end}`;
}

function typesOf({ parameters = [], requestBody, responses }) {
  const headers = parameters.filter((one) => one.in === 'header')
    .map((one) => make('p', { class: 'quiet' }, make('code', { text: one.name }), ` (header): ${one.description}`));
  const types = [['Sent', requestBody?.content], ['Answered', responses['200'].content]].flatMap(([word, content]) =>
    Object.entries(content ?? {}).map(([type, { schema }]) => make('details', {}, make('summary', { text: `${word} as ${type}` }),
      make('pre', { tabindex: '0', text: laidOut(resolved(schema)) }))));
  return [...headers, ...types];
}

// A schema with what it refers to in its place; none here refers to itself.
function resolved(node) {
  if (Array.isArray(node)) return node.map(resolved);
  if (node === null || typeof node !== 'object') return node;
  if (node.$ref) return resolved(api.components.schemas[node.$ref.split('/').pop()]);
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, resolved(value)]));
}

chooseTask(show, ['to-try', 'to-live']).catch(say);
