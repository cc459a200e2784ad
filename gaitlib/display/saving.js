// Saves what the canvases show: one frame as PNG or SVG, the whole walk as GIF or, if the browser can, as a video.

/** A stand-in for a canvas context that writes SVG; it implements only what the drawings here use. */
class SvgContext {
  parts = [];
  path = "";
  dash = [];
  globalAlpha = 1;
  beginPath() { this.path = ""; }
  moveTo(x, y) { this.path += `M${x.toFixed(2)} ${y.toFixed(2)}`; }
  lineTo(x, y) { this.path += `L${x.toFixed(2)} ${y.toFixed(2)}`; }
  arc(x, y, r) {
    const [d, s] = [(2 * r).toFixed(2), r.toFixed(2)];
    this.path += `M${(x - r).toFixed(2)} ${y.toFixed(2)}a${s} ${s} 0 1 0 ${d} 0a${s} ${s} 0 1 0 -${d} 0`;
  }
  setLineDash(dash) { this.dash = dash; }
  add(paint) {
    const alpha = this.globalAlpha < 1 ? ` opacity="${this.globalAlpha.toFixed(2)}"` : "";
    this.parts.push(`<path d="${this.path}" ${paint}${alpha}/>`);
  }
  stroke() {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    this.add(`fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth.toFixed(2)}" stroke-linecap="round" stroke-linejoin="round"${dash}`);
  }
  fill() { this.add(`fill="${this.fillStyle}"`); }
  fillRect(x, y, w, h) { this.parts.push(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${this.fillStyle}"/>`); }
  fillText(text, x, y) {
    const safe = text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
    this.parts.push(`<text x="${x.toFixed(2)}" y="${y.toFixed(2)}" fill="${this.fillStyle}" style="font:${this.font.replace(/"/g, "'")}">${safe}</text>`);
  }
  svg(width, height, title) {
    this.parts.unshift(`<title>${title.replace(/[&<>]/g, " ")}</title>`);
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">${this.parts.join("")}</svg>\n`;
  }
}

/** Up to 255 colors that represent those of the images, 4 bits a channel, and a table from color to index. */
function palette(images) {
  const counts = new Uint32Array(4096);
  for (const { data } of images) {
    for (let i = 0; i < data.length; i += 4) counts[((data[i] >> 4) << 8) | ((data[i + 1] >> 4) << 4) | (data[i + 2] >> 4)]++;
  }
  const used = [...counts.keys()].filter((c) => counts[c]).sort((a, b) => counts[b] - counts[a]);
  const kept = used.slice(0, 255);
  const channels = (c) => [(c >> 8) * 17, ((c >> 4) & 15) * 17, (c & 15) * 17];
  const distance = (a, b) => channels(a).reduce((sum, v, i) => sum + (v - channels(b)[i]) ** 2, 0);
  const place = new Uint8Array(4096);
  for (const c of used) {
    const exact = kept.indexOf(c);
    place[c] = exact >= 0 ? exact : kept.reduce((best, k, i) => (distance(k, c) < distance(kept[best], c) ? i : best), 0);
  }
  return { colors: kept.map(channels), place };
}

/** The LZW of GIF with 8-bit pixels, in blocks of at most 255 bytes. */
function compressed(pixels) {
  const out = [8];
  let block = [], bits = 0, filled = 0, size = 9, next = 258, table = new Map();
  const flush = () => { out.push(block.length, ...block); block = []; };
  const emit = (code) => {
    bits |= code << filled;
    filled += size;
    while (filled >= 8) {
      block.push(bits & 255);
      if (block.length === 255) flush();
      bits >>>= 8;
      filled -= 8;
    }
  };
  emit(256);
  let prefix = pixels[0];
  for (let i = 1; i < pixels.length; i++) {
    const key = (prefix << 8) | pixels[i];
    const known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    emit(prefix);
    if (next === 4096) {
      emit(256);
      table = new Map();
      next = 258;
      size = 9;
    } else {
      if (next === 1 << size) size++;
      table.set(key, next++);
    }
    prefix = pixels[i];
  }
  emit(prefix);
  emit(257);
  if (filled) block.push(bits & 255);
  if (block.length) flush();
  out.push(0);
  return Uint8Array.from(out);
}

/** An animated GIF that loops: images (ImageData) of one size, fps frames a second (GIF counts in hundredths of a second). */
async function gif(images, fps) {
  const { width, height } = images[0];
  const { colors, place } = palette(images);
  const word = (v) => [v & 255, v >> 8];
  const table = new Uint8Array(768);
  colors.forEach((c, i) => table.set(c, 3 * i));
  const text = (s) => [...s].map((c) => c.charCodeAt(0));
  const parts = [
    Uint8Array.from([...text("GIF89a"), ...word(width), ...word(height), 0xf7, 0, 0]), table,
    Uint8Array.from([0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0]),
  ];
  for (let t = 0; t < images.length; t++) {
    const { data } = images[t];
    const pixels = new Uint8Array(width * height);
    for (let i = 0, k = 0; k < pixels.length; i += 4, k++) {
      pixels[k] = place[((data[i] >> 4) << 8) | ((data[i + 1] >> 4) << 4) | (data[i + 2] >> 4)];
    }
    const delay = Math.round((100 * (t + 1)) / fps) - Math.round((100 * t) / fps);
    parts.push(Uint8Array.from([0x21, 0xf9, 4, 0, ...word(delay), 0, 0, 0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0]));
    parts.push(compressed(pixels));
    await new Promise((done) => setTimeout(done)); // the walk goes on meanwhile
  }
  return new Blob([...parts, Uint8Array.of(0x3b)], { type: "image/gif" });
}

/** The kind of video that this browser records: MP4 where it can, else WebM, or null. */
function videoKind() {
  if (!window.MediaRecorder) return null;
  const kinds = [["mp4", "video/mp4;codecs=avc1.42E01E"], ["webm", "video/webm"]];
  const kind = kinds.find(([, type]) => MediaRecorder.isTypeSupported(type));
  return kind && { name: kind[0], type: kind[1] };
}

/** Record a canvas while paint(t) draws frame after frame at its own pace. */
async function video(canvas, paint, frames, fps, { type }) {
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: type, videoBitsPerSecond: 4e6 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((done) => { recorder.onstop = done; });
  recorder.start();
  for (let t = 0; t < frames; t++) {
    paint(t);
    await new Promise((done) => setTimeout(done, 1000 / fps));
  }
  recorder.stop();
  await ended;
  return new Blob(parts, { type: type.split(";")[0] });
}

function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
