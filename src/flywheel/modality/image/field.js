// A picture that is drawn, dropped or chosen; and the squares of one that an answer depends on.
import { make } from '/web/api.js';
import { base64, decoded } from '/web/file.js';
import { colour } from '/web/weights.js';

const SIDE = 280;
const PEN = 0.075; // of the shorter side: what a line of handwritten digits is wide

export function field(spec, { about: { height, width, exact } }) {
  const scale = SIDE / Math.max(height, width);
  const canvas = make('canvas', { class: 'draw', width: Math.round(width * scale), height: Math.round(height * scale), tabindex: '0', 'aria-label': 'draw here, or drop a picture' });
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const file = make('input', { type: 'file', accept: 'image/*', 'aria-label': 'choose a picture' });
  const clear = make('button', { type: 'button', class: 'plain', text: 'Clear' });
  const said = make('span', { class: 'quiet' });
  let state = { kind: 'none' };
  const wipe = () => {
    pen.fillStyle = '#000';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    state = { kind: 'none' };
    said.textContent = `draw in white, or drop a picture${exact ? ` (${width} x ${height})` : ''}`;
  };
  const take = async (blob) => {
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (!bitmap) { wipe(); said.textContent = 'this browser cannot show that file; it is sent as it is'; state = { kind: 'file', blob }; return; }
    wipe();
    pen.imageSmoothingEnabled = bitmap.width > canvas.width;
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const fits = !exact || (bitmap.width === width && bitmap.height === height);
    state = { kind: 'file', blob: fits ? blob : await shrunk(bitmap, width, height) };
    said.textContent = fits ? `${bitmap.width} x ${bitmap.height}` : `${bitmap.width} x ${bitmap.height}, made ${width} x ${height} here`;
  };
  let last = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };
  const draw = (event) => {
    const [x, y] = at(event);
    pen.strokeStyle = '#fff';
    pen.lineCap = pen.lineJoin = 'round';
    pen.lineWidth = PEN * Math.min(canvas.width, canvas.height);
    pen.beginPath();
    pen.moveTo(...(last ?? [x, y]));
    pen.lineTo(x, y);
    pen.stroke();
    last = [x, y];
    state = { kind: 'drawn' };
  };
  canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); last = null; draw(event); });
  canvas.addEventListener('pointermove', (event) => { if (event.buttons && last) draw(event); });
  canvas.addEventListener('pointerup', () => { last = null; });
  for (const kind of ['dragenter', 'dragover']) {
    canvas.addEventListener(kind, (event) => { event.preventDefault(); canvas.classList.add('over'); });
  }
  canvas.addEventListener('dragleave', () => canvas.classList.remove('over'));
  canvas.addEventListener('drop', (event) => {
    event.preventDefault();
    canvas.classList.remove('over');
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  file.addEventListener('change', () => { if (file.files[0]) take(file.files[0]); });
  clear.addEventListener('click', () => { file.value = ''; wipe(); });
  wipe();
  return {
    media: 'picture',
    canvas,
    body: make('div', {}, canvas, make('div', { class: 'row' }, file, clear), said),
    set: async (value) => { const blob = await blobOf(value); if (blob) await take(blob); },
    value: async () => {
      if (state.kind === 'none') return undefined;
      return base64(state.kind === 'file' ? state.blob : await shrunk(canvas, width, height));
    },
  };
}

// A picture in the model's size, as PNG; halved step by step, so that no pixel is left out.
async function shrunk(source, width, height) {
  let [w, h, from] = [source.width, source.height, source];
  do {
    w = Math.max(width, Math.ceil(w / 2));
    h = Math.max(height, Math.ceil(h / 2));
    const step = make('canvas', { width: w, height: h });
    const pen = step.getContext('2d');
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(from, 0, 0, w, h);
    from = step;
  } while (w > width || h > height);
  return new Promise((resolve) => from.toBlob(resolve, 'image/png'));
}

// An example's picture: base64 of a file, or rows of pixels.
async function blobOf(value) {
  if (typeof value === 'string') return decoded(value);
  if (!Array.isArray(value)) return null;
  const canvas = make('canvas', { width: value[0].length, height: value.length });
  const pixels = value.flat().flatMap((pixel) => (Array.isArray(pixel) ? [...pixel, 255] : [pixel, pixel, pixel, 255]));
  canvas.getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(pixels), canvas.width), 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}

// A grid over the picture that was asked about.
export function explain(group, { most, field: asked }) {
  const { rows, columns } = group.about;
  const side = 280 / Math.max(group.about.height, group.about.width);
  const canvas = make('canvas', { width: Math.round(group.about.width * side), height: Math.round(group.about.height * side), role: 'img', 'aria-label': 'where the answer comes from' });
  const pen = canvas.getContext('2d');
  if (asked?.canvas) {
    pen.filter = 'grayscale(1)';
    pen.drawImage(asked.canvas, 0, 0, canvas.width, canvas.height);
    pen.filter = 'none';
  }
  const [w, h] = [canvas.width / columns, canvas.height / rows];
  group.weights.forEach((weight, place) => {
    pen.fillStyle = colour(weight, most);
    pen.fillRect((place % columns) * w, Math.floor(place / columns) * h, w + 0.5, h + 0.5);
  });
  return canvas;
}
