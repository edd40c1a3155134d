// A recording: made with the microphone, or a file; and the moments of one that an answer depends on. What the server does
// not read (WebM, MP3, M4A) becomes WAV here.
import { make } from '/web/api.js';
import { base64, decoded } from '/web/file.js';
import { colour } from '/web/weights.js';

const READ = /\.(wav|flac|ogg|oga)$/i;

export function field() {
  const button = make('button', { type: 'button', class: 'plain', text: 'Record', id: 'record' });
  const file = make('input', { type: 'file', accept: 'audio/*', 'aria-label': 'choose a recording' });
  const player = make('audio', { controls: '', hidden: '' });
  const said = make('span', { class: 'quiet', text: 'record, or choose a file' });
  let blob = null;
  let recorder = null;
  let address = null;
  let left = false; // another task is shown: nobody sees that the microphone is on
  const hold = (found, about) => {
    blob = found;
    if (address) URL.revokeObjectURL(address);
    address = null;
    if (!found) return;
    address = player.src = URL.createObjectURL(found);
    player.hidden = false;
    said.textContent = about;
  };
  const take = async (given, name) => {
    try {
      hold(READ.test(name) ? given : await asWav(given), `${name}, ${Math.round(given.size / 1000)} kB`);
    } catch {
      said.textContent = 'this browser cannot read that file';
    }
  };
  const start = async () => {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      said.textContent = `the microphone cannot be used: ${error.message}`;
      return;
    }
    if (left) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = async () => {
      for (const track of stream.getTracks()) track.stop();
      button.textContent = 'Record';
      recorder = null;
      if (left) return;
      await take(new Blob(parts, { type: parts[0]?.type }), 'recording');
    };
    recorder.start();
    button.textContent = 'Stop';
    said.textContent = 'recording …';
  };
  button.addEventListener('click', () => (recorder ? recorder.stop() : start()));
  file.addEventListener('change', () => { if (file.files[0]) take(file.files[0], file.files[0].name); });
  return {
    media: 'recording',
    body: make('div', {}, make('div', { class: 'row' }, button, file), player, make('div', {}, said)),
    leave: () => { left = true; if (recorder) recorder.stop(); hold(null); },
    set: (value) => { if (typeof value === 'string') hold(new Blob([decoded(value)], { type: 'audio/wav' }), 'the example'); },
    value: () => (blob ? base64(blob) : undefined),
  };
}

// Decodes whatever the browser can, and writes 16-bit mono WAV.
async function asWav(given) {
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await given.arrayBuffer()).finally(() => context.close());
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const samples = sound.getChannelData(channel);
    for (let place = 0; place < mixed.length; place++) mixed[place] += samples[place] / sound.numberOfChannels;
  }
  const view = new DataView(new ArrayBuffer(44 + 2 * mixed.length));
  const text = (place, words) => [...words].forEach((letter, at) => view.setUint8(place + at, letter.charCodeAt(0)));
  text(0, 'RIFF'); view.setUint32(4, 36 + 2 * mixed.length, true); text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, 'data'); view.setUint32(40, 2 * mixed.length, true);
  mixed.forEach((sample, place) => view.setInt16(44 + 2 * place, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true));
  return new Blob([view], { type: 'audio/wav' });
}

// Spans of time, behind the outline of the recording.
export function explain(group, { most }) {
  const [width, height] = [560, 120];
  const { seconds, outline } = group.about;
  const canvas = make('canvas', { width, height, role: 'img', 'aria-label': 'when the answer comes' });
  const pen = canvas.getContext('2d');
  const length = seconds[seconds.length - 1];
  group.weights.forEach((weight, place) => {
    pen.fillStyle = colour(weight, most);
    const start = seconds[place] / length * width;
    pen.fillRect(start, 0, seconds[place + 1] / length * width - start, height);
  });
  pen.fillStyle = getComputedStyle(document.body).color;
  outline.forEach((peak, place) => {
    const tall = Math.max(1, peak * height * 0.9);
    pen.fillRect(place / outline.length * width, (height - tall) / 2, Math.max(1, width / outline.length - 1), tall);
  });
  return make('div', {}, canvas, make('p', { class: 'quiet', text: `${length.toFixed(2)} s, as the model hears it` }));
}
