// The photograph on a canvas: zoom, pan, outlines, a small map. A correction may take over pointer and keys.

import { drawOutlines, originalOutlines, outlinesOf, regionOfInterest } from "./drawing.js";
import { picture, redFree } from "./pictures.js";

const STEP = 1.3; // of one zoom
const PAN = 40; // CSS pixels of one arrow key
const LARGEST = 24; // CSS pixels per pixel of the photograph

export class Viewer {
  layers = { disc: true, cup: true, original: true, redFree: false, opacity: 0.9, hidden: false };
  correction = null;
  #canvas;
  #map;
  #entry = null;
  #bitmap = null;
  #source = null; // what is drawn: the bitmap or its green channel
  #view = { x: 0, y: 0, scale: 1 }; // the place of the photograph in the middle; CSS pixels per pixel
  #shownDisc = false;
  #pointers = new Map();
  #frame = 0;

  constructor(canvas, map) {
    this.#canvas = canvas;
    this.#map = map;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.#up(event));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("dblclick", (event) => this.#zoomAt(this.#place(event), STEP ** 3));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("keyup", (event) => event.key.toLowerCase() === "h" && this.#hide(false));
    canvas.addEventListener("blur", () => this.#hide(false));
    new ResizeObserver(() => this.#resized()).observe(canvas);
    map.addEventListener("click", () => this.zoom("whole"));
  }

  /** Show a photograph; rejects with a Problem where neither browser nor service can decode it. */
  async show(entry) {
    const another = entry !== this.#entry;
    if (another) {
      this.correction = null;
      this.#bitmap = this.#source = null;
      this.#shownDisc = false;
    }
    this.#entry = entry;
    if (!entry) return this.draw();
    const bitmap = await picture(entry);
    const source = this.layers.redFree ? await redFree(entry) : bitmap;
    if (entry !== this.#entry) return undefined;
    const first = !this.#bitmap || this.#bitmap.width !== bitmap.width;
    this.#bitmap = bitmap;
    this.#source = source;
    if (entry.answer && !this.#shownDisc) {
      this.#shownDisc = true;
      this.zoom(entry.answer.disc ? "disc" : "whole");
    } else if (first) {
      this.zoom("whole");
    }
    return this.draw();
  }

  get hasDisc() {
    return Boolean(this.#entry?.answer?.disc || this.#entry?.correction?.outlines.disc);
  }

  /** What the middle of the view shows: { x, y, side }, side of the square that fits. */
  get middle() {
    return { x: this.#view.x, y: this.#view.y, side: Math.min(...this.#size) / this.#view.scale };
  }

  zoom(how) {
    if (!this.#bitmap) return;
    const [width, height] = this.#size;
    if (how === "in" || how === "out") {
      this.#zoomAt([width / 2, height / 2], how === "in" ? STEP : 1 / STEP);
      return;
    }
    const { width: columns, height: rows } = this.#bitmap;
    if (how === "disc" && this.hasDisc) {
      const region = regionOfInterest(this.#entry, 1.75);
      this.#view = { x: region.x, y: region.y, scale: Math.min(Math.min(width, height) / region.side, LARGEST) };
    } else {
      this.#view = { x: columns / 2, y: rows / 2, scale: Math.min(width / columns, height / rows) };
    }
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#paint());
  }

  toScreen = ([x, y]) => {
    const [width, height] = this.#size;
    return [width / 2 + (x - this.#view.x) * this.#view.scale, height / 2 + (y - this.#view.y) * this.#view.scale];
  };

  toPhotograph = ([x, y]) => {
    const [width, height] = this.#size;
    return [this.#view.x + (x - width / 2) / this.#view.scale, this.#view.y + (y - height / 2) / this.#view.scale];
  };

  get #size() {
    return [this.#canvas.clientWidth, this.#canvas.clientHeight];
  }

  #paint() {
    const [width, height] = this.#size;
    const ratio = window.devicePixelRatio;
    const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== columns || this.#canvas.height !== rows) {
      Object.assign(this.#canvas, { width: columns, height: rows });
    }
    const context = this.#canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#source) return this.#paintMap(false);
    const [left, top] = this.toScreen([0, 0]);
    const { scale } = this.#view;
    context.imageSmoothingEnabled = scale < 6;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#source, left, top, this.#source.width * scale, this.#source.height * scale);
    if (this.#entry.answer && !this.layers.hidden) {
      const { disc, cup, original, opacity } = this.layers;
      const correction = this.#entry.correction;
      if (original && (correction?.measured || correction?.open)) {
        const options = { disc, cup, opacity: 0.7 * opacity, width: 1.25, dashed: true };
        drawOutlines(context, originalOutlines(this.#entry), this.toScreen, options);
      }
      drawOutlines(context, outlinesOf(this.#entry), this.toScreen, { disc, cup, opacity });
      this.correction?.draw(context, this.toScreen);
    }
    return this.#paintMap(true);
  }

  // where the view lies in the whole photograph; shown while a part of it is out of sight
  #paintMap(any) {
    const [width, height] = this.#size;
    const { scale, x, y } = this.#view;
    const inside = any && (this.#bitmap.width * scale > width + 2 || this.#bitmap.height * scale > height + 2);
    this.#map.hidden = !inside;
    if (!inside) return;
    const ratio = window.devicePixelRatio;
    const small = Math.min(112, width / 4) / Math.max(this.#bitmap.width, this.#bitmap.height);
    const [columns, rows] = [this.#bitmap.width * small, this.#bitmap.height * small];
    Object.assign(this.#map, { width: Math.round(columns * ratio), height: Math.round(rows * ratio) });
    this.#map.style.width = `${columns}px`;
    this.#map.style.height = `${rows}px`;
    const context = this.#map.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#source, 0, 0, columns, rows);
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5;
    context.strokeRect((x - width / scale / 2) * small, (y - height / scale / 2) * small, (width / scale) * small, (height / scale) * small);
  }

  #resized() {
    this.draw();
    if (this.#bitmap && this.#canvas.clientWidth && this.#view.scale === 0) this.zoom("whole");
  }

  #zoomAt([x, y], factor) {
    if (!this.#bitmap) return;
    const [width, height] = this.#size;
    const [columns, rows] = [this.#bitmap.width, this.#bitmap.height];
    const smallest = 0.5 * Math.min(width / columns, height / rows);
    const scale = Math.min(Math.max(this.#view.scale * factor, smallest), Math.max(LARGEST, smallest));
    const [px, py] = this.toPhotograph([x, y]);
    this.#view = { x: px - (x - width / 2) / scale, y: py - (y - height / 2) / scale, scale };
    this.#keepInSight();
    this.draw();
  }

  #pan(dx, dy) {
    this.#view.x -= dx / this.#view.scale;
    this.#view.y -= dy / this.#view.scale;
    this.#keepInSight();
    this.draw();
  }

  #keepInSight() {
    if (!this.#bitmap) return;
    this.#view.x = Math.min(Math.max(this.#view.x, 0), this.#bitmap.width);
    this.#view.y = Math.min(Math.max(this.#view.y, 0), this.#bitmap.height);
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    if (event.button > 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const place = this.#place(event);
    this.#pointers.set(event.pointerId, place);
    if (this.#pointers.size > 1) this.correction?.cancelDrag();
    else this.correction?.startDrag(place, event.pointerType !== "mouse");
    this.#showCursor(place);
  }

  #move(event) {
    const place = this.#place(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) {
      this.#showCursor(place);
      return;
    }
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
      const middle = [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      this.#pan((place[0] - before[0]) / 2, (place[1] - before[1]) / 2);
      this.#zoomAt(middle, apart(place) / Math.max(1, apart(before)));
    } else if (this.correction?.dragging) {
      this.correction.drag(place);
    } else {
      this.#pan(place[0] - before[0], place[1] - before[1]);
    }
    this.#pointers.set(event.pointerId, place);
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
    this.correction?.endDrag();
    this.#showCursor(this.#place(event));
  }

  #showCursor(place) {
    const over = this.correction && (this.correction.dragging || this.correction.over(place, false));
    this.#canvas.style.cursor = over ? "move" : this.#pointers.size ? "grabbing" : "grab";
  }

  #wheel(event) {
    if (!this.#bitmap || (window.matchMedia("(max-width: 60rem)").matches && !event.ctrlKey)) return; // the page scrolls
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    this.#zoomAt(this.#place(event), Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)));
  }

  #key(event) {
    if (this.correction?.key(event)) {
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = {
      ArrowLeft: () => this.#pan(PAN, 0),
      ArrowRight: () => this.#pan(-PAN, 0),
      ArrowUp: () => this.#pan(0, PAN),
      ArrowDown: () => this.#pan(0, -PAN),
      "+": () => this.zoom("in"),
      "=": () => this.zoom("in"),
      "-": () => this.zoom("out"),
      0: () => this.zoom("whole"),
      1: () => this.zoom("disc"),
      h: () => this.#hide(true),
      H: () => this.#hide(true),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  #hide(hidden) {
    if (this.layers.hidden === hidden) return;
    this.layers.hidden = hidden;
    this.draw();
  }
}
