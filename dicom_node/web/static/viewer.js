// A film in full depth: window, zoom, pan, and what the networks saw over it.
//
// The stored values come as they are and are looked up through a table of 8-bit greys for the
// window; the picture is drawn by the canvas's own scaling. Places are in pixels of the stored
// matrix, from the top left corner of the first pixel (PS3.3 C.18.6).
"use strict";

const HEAT = heatTable();

// Dark red over orange to yellow, the more transparent the less weight.
function heatTable() {
  const table = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const x = i / 255;
    table.set([255 * Math.min(1, 0.35 + 1.3 * x), 255 * Math.max(0, 1.35 * x - 0.35),
               255 * Math.max(0, 3 * x - 2.6), 255 * Math.min(1, 1.1 * x)], i * 4);
  }
  return table;
}

class Viewer {
  constructor(element) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.text = element.querySelector(".viewer-text");
    this.shown = { contours: true, lungs: false, parts: false, places: true };
    this.opacity = new Map();
    this.ready = this.load().catch((error) => { this.text.textContent = `The film cannot be shown: ${error.message}`; });
  }

  async load() {
    const base = `/films/${this.element.dataset.film}`;
    const answers = await Promise.all([fetch(`${base}/film.json`), fetch(`${base}/pixels`)]);
    for (const answer of answers) if (!answer.ok) throw new Error(`status ${answer.status}`);
    this.film = await answers[0].json();
    const bytes = await answers[1].arrayBuffer();
    const kind = this.film.bytes === 1 ? (this.film.signed ? Int8Array : Uint8Array)
      : (this.film.signed ? Int16Array : Uint16Array);
    this.values = new kind(bytes);
    this.greys = Uint8Array.from(atob(this.film.greys), (letter) => letter.charCodeAt(0));
    this.picture = document.createElement("canvas");
    this.picture.width = this.film.columns;
    this.picture.height = this.film.rows;
    this.heats = this.film.maps.map((map) => heatPicture(map.grid, map.kind === "opacity" ? opaqueTable(map.threshold) : HEAT));
    this.reset();
    this.listen();
    new ResizeObserver(() => { if (this.fitted) this.fit(); else this.draw(); }).observe(this.element);
    this.element.dataset.ready = "yes";
  }

  reset() {
    this.window = { ...this.film.window };
    this.inverted = false;
    this.stale = true;
    this.fit();
  }

  // Look every stored value up in the film's own greys: those of the picture that the networks saw,
  // whatever table or function made them. The window moves and stretches them as they are.
  windowed() {
    const bits = 8 * this.film.bytes, size = 1 << bits, lowest = this.film.signed ? -size / 2 : 0;
    const first = this.film.window, stretch = first.width / this.window.width, greys = new Uint32Array(size);
    for (let i = 0; i < size; i++) {
      const at = Math.round((i + lowest - this.window.centre) * stretch + first.centre) - lowest;
      let grey = this.greys[Math.min(size - 1, Math.max(0, at))];
      if (this.inverted) grey = 255 - grey;
      greys[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    if (this.film.padding) greys.fill(0xff000000, this.film.padding[0] - lowest, this.film.padding[1] - lowest + 1);
    const context = this.picture.getContext("2d");
    const image = context.createImageData(this.film.columns, this.film.rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = greys[this.values[i] - lowest];
    context.putImageData(image, 0, 0);
    this.stale = false;
  }

  fit() {
    const box = this.element.getBoundingClientRect();
    this.scale = Math.min(box.width / this.film.columns, box.height / this.film.rows);
    this.x = (box.width - this.film.columns * this.scale) / 2;
    this.y = (box.height - this.film.rows * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  zoom(factor, x, y) {
    const scale = Math.min(20, Math.max(0.02, this.scale * factor));
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  actual() {
    const box = this.element.getBoundingClientRect();
    this.zoom(1 / (this.scale * (window.devicePixelRatio || 1)), box.width / 2, box.height / 2);
  }

  draw() {
    if (this.asked || this.scale === undefined) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  paint() {
    // Once a picture, however many events of the pointer came since the last.
    if (this.stale) this.windowed();
    const ratio = window.devicePixelRatio || 1, box = this.element.getBoundingClientRect();
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x, ratio * this.y);
    context.imageSmoothingEnabled = this.scale < 2;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, 0, 0);
    this.paintMaps(context);
    if (this.shown.lungs) for (const line of Object.values(this.film.lungs)) this.line(context, line, "#7fd4ff", 1.5);
    if (this.shown.parts) this.paintParts(context);
    if (this.shown.places) this.paintPlaces(context);
    const w = this.window;
    this.text.textContent = `W ${Math.round(w.width)}  L ${Math.round(w.centre)}  ${Math.round(this.scale * 100)} %${this.inverted ? "  inverted" : ""}`;
    this.element.dataset.window = `${Math.round(w.centre)}/${Math.round(w.width)}`;
  }

  paintMaps(context) {
    this.film.maps.forEach((map, i) => {
      const opacity = this.opacity.get(map.network) ?? 0;
      if (!opacity) return;
      const [top, left, bottom, right] = map.region;
      const mapped = map.kind === "opacity";
      context.save();
      // Of the opacity map only what its contours surround has colour.
      if (mapped) context.clip(within(map.contours), "evenodd");
      context.globalAlpha = opacity;
      context.imageSmoothingEnabled = true;
      context.drawImage(this.heats[i], 0.5, 0.5, this.heats[i].width - 1, this.heats[i].height - 1, left, top, right - left, bottom - top);
      context.restore();
      if (this.shown.contours) for (const line of map.contours) this.line(context, line, mapped ? "#40e0d0" : "#ffc400", 2);
    });
  }

  paintParts(context) {
    for (const part of this.film.parts) {
      this.line(context, part.line, "#8fd694", 1.5);
      const xs = part.line.map((p) => p[0]), ys = part.line.map((p) => p[1]);
      const x = (Math.min(...xs) + Math.max(...xs)) / 2, y = (Math.min(...ys) + Math.max(...ys)) / 2;
      context.font = `600 ${16 / this.scale}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.lineWidth = 4 / this.scale;
      context.strokeStyle = "#000";
      context.strokeText(part.score.toFixed(1), x, y);
      context.fillStyle = "#fff";
      context.fillText(part.score.toFixed(1), x, y);
    }
  }

  // What networks found under keys of their own: boxes, outlines and measured lines, each named.
  paintPlaces(context) {
    for (const place of this.film.places) {
      this.line(context, place.line, "#ff8ad8", 2, place.closed);
      if (!place.label || !place.line.length) continue;
      const x = Math.min(...place.line.map((p) => p[0])), y = Math.min(...place.line.map((p) => p[1]));
      context.font = `600 ${13 / this.scale}px system-ui, sans-serif`;
      context.textAlign = "left";
      context.lineWidth = 4 / this.scale;
      context.strokeStyle = "#000";
      context.strokeText(place.label, x, y - 5 / this.scale);
      context.fillStyle = "#ff8ad8";
      context.fillText(place.label, x, y - 5 / this.scale);
    }
  }

  line(context, points, colour, width, closed = true) {
    if (!points.length) return;
    context.beginPath();
    points.forEach(([x, y], i) => { if (i) context.lineTo(x, y); else context.moveTo(x, y); });
    if (closed) context.closePath();
    context.lineWidth = (width + 2) / this.scale;
    context.strokeStyle = "#000";
    context.stroke();
    context.lineWidth = width / this.scale;
    context.strokeStyle = colour;
    context.stroke();
  }

  turn(width, centre) {
    const step = this.film.window.width / 300;
    this.window.width = Math.max(1, this.window.width + width * step);
    this.window.centre += centre * step;
    this.stale = true;
    this.draw();
  }

  invert() { this.inverted = !this.inverted; this.stale = true; this.draw(); }

  listen() {
    const element = this.element;
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      this.held = { x: event.clientX, y: event.clientY, pan: event.button === 2 || event.button === 1 || event.shiftKey };
    });
    element.addEventListener("pointermove", (event) => {
      if (!this.held) return;
      const dx = event.clientX - this.held.x, dy = event.clientY - this.held.y;
      if (!dx && !dy) return;
      this.held.x = event.clientX;
      this.held.y = event.clientY;
      if (this.held.pan) { this.x += dx; this.y += dy; this.fitted = false; this.draw(); } else this.turn(dx, dy);
    });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => { this.held = null; });
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
  }
}

// One colour, the surer the stronger, from the threshold on; twice as strong as shown at half.
function opaqueTable(threshold) {
  const table = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const sure = Math.max(0, (i / 255 - threshold) / (1 - threshold));
    table.set([64, 224, 208, 255 * (0.3 + 0.7 * sure)], i * 4);
  }
  return table;
}

function within(lines) {
  const path = new Path2D();
  for (const line of lines) { line.forEach(([x, y], i) => { if (i) path.lineTo(x, y); else path.moveTo(x, y); }); path.closePath(); }
  return path;
}

function heatPicture(grid, table) {
  const canvas = document.createElement("canvas"), rows = grid.length, columns = grid[0].length;
  // One cell more on each side, so that scaling does not fade at the edge.
  canvas.width = columns + 1;
  canvas.height = rows + 1;
  const context = canvas.getContext("2d"), image = context.createImageData(columns + 1, rows + 1);
  const at = (r, c) => grid[Math.min(rows - 1, Math.max(0, r))][Math.min(columns - 1, Math.max(0, c))];
  for (let r = 0; r <= rows; r++) for (let c = 0; c <= columns; c++) {
    // The value at a corner of cells is the mean of the cells that meet there.
    const mean = (at(r - 1, c - 1) + at(r - 1, c) + at(r, c - 1) + at(r, c)) / 4;
    image.data.set(table.subarray(4 * Math.round(255 * mean), 4 * Math.round(255 * mean) + 4), 4 * (r * (columns + 1) + c));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const viewers = [...document.querySelectorAll(".viewer")].map((element) => new Viewer(element));
const all = (step) => { for (const viewer of viewers) if (viewer.scale !== undefined) step(viewer); };

function show(name, on) {
  const box = document.querySelector(`[data-show="${name}"]`);
  if (box) box.checked = on;
  all((viewer) => { viewer.shown[name] = on; viewer.draw(); });
}

function sliders() {
  const place = document.getElementById("maps");
  const maps = viewers.filter((viewer) => viewer.film).flatMap((viewer) => viewer.film.maps);
  const networks = [...new Set(maps.map((map) => map.network))];
  networks.forEach((network, i) => {
    const label = document.createElement("label");
    label.className = "map";
    const drawn = maps.some((map) => map.network === network && map.drawn);
    const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: i || !drawn ? 0 : 45 });
    range.dataset.network = network;
    range.addEventListener("input", () => all((viewer) => { viewer.opacity.set(network, range.value / 100); viewer.draw(); }));
    label.append(maps.find((map) => map.network === network).label, range);
    place?.append(label);
    // At first only on the films where something was found; whoever moves the slider sees all.
    all((viewer) => {
      const found = viewer.film?.maps.some((map) => map.network === network && map.drawn);
      viewer.opacity.set(network, found ? range.value / 100 : 0);
      viewer.draw();
    });
  });
}

Promise.all(viewers.map((viewer) => viewer.ready)).then(sliders);

document.addEventListener("change", (event) => {
  const name = event.target.dataset?.show;
  if (name) show(name, event.target.checked);
});

const actions = {
  fit: () => all((viewer) => viewer.fit()),
  actual: () => all((viewer) => viewer.actual()),
  invert: () => all((viewer) => viewer.invert()),
  reset: () => all((viewer) => viewer.reset()),
};
document.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());

const middle = (viewer) => { const box = viewer.element.getBoundingClientRect(); return [box.width / 2, box.height / 2]; };
const flip = (name) => show(name, !viewers[0]?.shown[name]);
const keys = {
  i: actions.invert, f: actions.fit, 1: actions.actual, r: actions.reset,
  "+": () => all((viewer) => viewer.zoom(1.25, ...middle(viewer))), "-": () => all((viewer) => viewer.zoom(0.8, ...middle(viewer))),
  ArrowUp: () => all((viewer) => viewer.turn(0, -10)), ArrowDown: () => all((viewer) => viewer.turn(0, 10)),
  ArrowLeft: () => all((viewer) => viewer.turn(-10, 0)), ArrowRight: () => all((viewer) => viewer.turn(10, 0)),
  c: () => flip("contours"), l: () => flip("lungs"), z: () => flip("parts"), p: () => flip("places"),
  h: () => { const range = document.querySelector("#maps input"); if (range) { range.value = range.value > 0 ? 0 : 45; range.dispatchEvent(new Event("input")); } },
  "?": () => document.getElementById("keys").showModal(),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  if (event.key.startsWith("Arrow") && !event.target.closest(".viewer")) return;
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action) { event.preventDefault(); action(); }
});
