// Pulling outlines into shape on the viewer's canvas; the service measures what comes out.

import { measure, Problem } from "./api.js";
import { COLOURS, originalOutlines, regionOfInterest } from "./drawing.js";
import { announce } from "./elements.js";
import { HANDLES, Outline } from "./outline.js";

const PAUSE = 250; // milliseconds without a key before the service is asked
const NAMES = { disc: "Disc", cup: "Cup" };

/** What is kept of a correction with its photograph: { outlines, measured, problem, pending, open }. */
function begun(entry, middle) {
  const { disc, cup } = originalOutlines(entry);
  const outlines = { disc: disc && Outline.around(disc), cup: cup && Outline.around(cup) };
  const drawn = [];
  if (!outlines.disc) {
    outlines.disc = Outline.ellipse(middle.x, middle.y, middle.side / 2, middle.side / 2);
    drawn.push("disc");
  }
  if (!outlines.cup) {
    const { x, y, side } = disc ? regionOfInterest(entry, 1) : { ...middle, side: middle.side / 2 };
    outlines.cup = Outline.ellipse(x, y, side / 2, side / 2);
    drawn.push("cup");
  }
  return { outlines, drawn, measured: null, problem: null, pending: false, open: true };
}

export class Correction {
  active = "cup";
  mode = "point"; // what dragging does: "point", "move" or "size"
  #entry;
  #viewer;
  #onChange;
  #selected = 0;
  #drag = null; // { outline, from, handle }
  #past = [];
  #future = [];
  #timer = 0;
  #request = null;

  /** `onChange` is called when numbers or history have changed. */
  constructor(entry, viewer, onChange) {
    this.#entry = entry;
    this.#viewer = viewer;
    this.#onChange = onChange;
    entry.correction = entry.correction ? { ...entry.correction, open: true } : begun(entry, viewer.middle);
    if (entry.correction.drawn.includes("disc")) this.active = "disc";
    if (entry.correction.drawn.length && !entry.correction.measured) this.#measure(0);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  get dragging() {
    return this.#drag !== null;
  }

  close() {
    this.#entry.correction.open = false;
    if (!this.#entry.correction.measured && !this.#entry.correction.pending) this.#entry.correction = null;
  }

  /** Back to what the network drew. */
  startOver() {
    this.#request?.abort();
    clearTimeout(this.#timer);
    this.#entry.correction = begun(this.#entry, this.#viewer.middle);
    this.#past = [];
    this.#future = [];
    if (this.#entry.correction.drawn.length) this.#measure(0);
    this.#viewer.draw();
    this.#onChange();
  }

  undo() {
    this.#travel(this.#past, this.#future);
  }

  redo() {
    this.#travel(this.#future, this.#past);
  }

  choose(name) {
    this.active = name;
    this.#viewer.draw();
    this.#onChange();
  }

  /** Whether a pointer there takes hold of the outline rather than of the photograph. */
  over(place, coarse) {
    if (this.mode === "point") return this.#nearest(place, coarse) !== null;
    return inside(this.#outline.curve, this.#viewer.toPhotograph(place)) || this.#nearest(place, coarse) !== null;
  }

  startDrag(place, coarse) {
    if (!this.over(place, coarse)) return;
    const handle = this.#nearest(place, coarse);
    if (handle !== null) this.#selected = handle;
    this.#drag = { outline: this.#outline, from: this.#viewer.toPhotograph(place), moved: false };
    this.#viewer.draw();
  }

  drag(place) {
    const { outline, from } = this.#drag;
    const to = this.#viewer.toPhotograph(place);
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    if (!this.#drag.moved) this.#remember();
    this.#drag.moved = true;
    if (this.mode === "point") this.#set(outline.reshaped(this.#selected, dx, dy));
    else if (this.mode === "move") this.#set(outline.moved(dx, dy));
    else {
      const [x, y] = outline.centre;
      const before = Math.max(1, Math.hypot(from[0] - x, from[1] - y));
      this.#set(outline.resized(Math.max(0.2, Math.hypot(to[0] - x, to[1] - y) / before)));
    }
  }

  endDrag() {
    if (this.#drag?.moved) this.#measure(0);
    this.#drag = null;
  }

  /** A second finger came: it was a pinch. */
  cancelDrag() {
    if (this.#drag?.moved) {
      this.#set(this.#drag.outline);
      this.#past.pop();
    }
    this.#drag = null;
  }

  /** True where the key was for the correction. */
  key(event) {
    const command = event.ctrlKey || event.metaKey;
    const step = event.shiftKey ? 10 : 1;
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (command && event.key.toLowerCase() === "z") {
      if (event.shiftKey) this.redo();
      else this.undo();
    } else if (command || event.altKey) return false;
    else if (event.key in arrows) this.#nudge(...arrows[event.key]);
    else if (event.key === "," || event.key === ".") this.#select(event.key === "," ? -1 : 1);
    else if (event.key === "d" || event.key === "c") this.choose(event.key === "d" ? "disc" : "cup");
    else return false;
    return true;
  }

  draw(context, toScreen) {
    const handles = this.#outline.handles.map(([x, y]) => toScreen([x + 0.5, y + 0.5]));
    context.save();
    handles.forEach(([x, y], k) => {
      const chosen = k === this.#selected;
      context.beginPath();
      context.arc(x, y, chosen ? 7 : 4.5, 0, 2 * Math.PI);
      context.fillStyle = chosen ? "#fff" : COLOURS[this.active];
      context.fill();
      context.lineWidth = chosen ? 3 : 1.5;
      context.strokeStyle = chosen ? COLOURS[this.active] : "#06110d";
      context.stroke();
    });
    context.restore();
  }

  get #outline() {
    return this.#entry.correction.outlines[this.active];
  }

  #set(outline) {
    this.#entry.correction.outlines = { ...this.#entry.correction.outlines, [this.active]: outline };
    this.#viewer.draw();
  }

  #remember() {
    this.#past.push(this.#entry.correction.outlines);
    this.#future = [];
  }

  #travel(from, to) {
    if (!from.length) return;
    to.push(this.#entry.correction.outlines);
    this.#entry.correction.outlines = from.pop();
    this.#viewer.draw();
    this.#measure(0);
  }

  #nudge(dx, dy) {
    this.#remember();
    if (this.mode === "point") this.#set(this.#outline.reshaped(this.#selected, dx, dy));
    else if (this.mode === "move") this.#set(this.#outline.moved(dx, dy));
    else {
      const [x, y] = this.#outline.centre;
      const radius = Math.hypot(this.#outline.handles[0][0] - x, this.#outline.handles[0][1] - y);
      this.#set(this.#outline.resized(Math.max(0.2, (radius + dx - dy) / radius))); // right and up make it larger
    }
    this.#measure(PAUSE);
  }

  #select(by) {
    this.#selected = (this.#selected + by + HANDLES) % HANDLES;
    const [x, y] = this.#outline.handles[this.#selected];
    announce(`${NAMES[this.active]}, point ${this.#selected + 1} of ${HANDLES}, column ${Math.round(x)}, row ${Math.round(y)}`);
    this.#viewer.draw();
  }

  #nearest(place, coarse) {
    const reach = coarse ? 26 : 14; // CSS pixels
    let best = null;
    this.#outline.handles.forEach(([x, y], k) => {
      const [sx, sy] = this.#viewer.toScreen([x + 0.5, y + 0.5]);
      const away = Math.hypot(sx - place[0], sy - place[1]);
      if (away <= reach && (best === null || away < best.away)) best = { k, away };
    });
    return best && best.k;
  }

  #measure(pause) {
    clearTimeout(this.#timer);
    this.#request?.abort();
    const { correction } = this.#entry;
    if (!correction.drawn.length && !correction.outlines.disc.touched && !correction.outlines.cup.touched) {
      Object.assign(correction, { measured: null, problem: null, pending: false }); // undone to the very first step
      this.#onChange();
      return;
    }
    correction.pending = true;
    this.#onChange();
    this.#timer = setTimeout(() => this.#ask(correction), pause);
  }

  async #ask(correction) {
    this.#request = new AbortController();
    const { signal } = this.#request;
    try {
      const measured = await measureOutlines(this.#entry, signal);
      Object.assign(correction, { measured, problem: null, pending: false });
    } catch (error) {
      if (signal.aborted) return;
      const problem = error instanceof Problem ? error : new Problem("internal_error", 0, String(error));
      Object.assign(correction, { problem, pending: false });
    }
    if (!correction.open && !correction.measured) this.#entry.correction = null;
    this.#onChange();
  }
}

/** The numbers of a photograph's corrected outlines. */
export function measureOutlines(entry, signal) {
  const { width, height } = entry.answer.image;
  const { disc, cup } = entry.correction.outlines;
  return measure({ width, height, disc: [rounded(disc.curve)], cup: [rounded(cup.curve)] }, entry.eye, signal);
}

function rounded(ring) {
  return ring.map((point) => point.map((value) => Math.round(value * 100) / 100));
}

function inside(ring, [x, y]) {
  return ring.reduce((odd, [x0, y0], i) => {
    const [x1, y1] = ring[(i + 1) % ring.length];
    return y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0) ? !odd : odd;
  }, false);
}
