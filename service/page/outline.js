// An outline that a person can pull into shape. Pure geometry; lengths are pixels of the photograph.

export const HANDLES = 24;
const REACH = 3.5; // handles: how far the pull on one is felt on either side

/**
 * A closed ring and how far each of its handles was moved. Between handles the shift follows a smooth closed curve, so
 * that a part which nobody touched stays exactly as the network drew it. Never changed: every move gives a new one.
 */
export class Outline {
  #places; // where each point of the ring lies between the handles: 2.5 is half-way from handle 2 to 3

  constructor(ring, shifts = Array.from({ length: HANDLES }, () => [0, 0]), places = placesOf(ring)) {
    this.ring = ring;
    this.shifts = shifts;
    this.#places = places;
  }

  /** A ring with enough points to bend: [[x, y], …]. */
  static around(ring) {
    return new Outline(withPointsBetween(ring));
  }

  static ellipse(x, y, width, height) {
    const angles = Array.from({ length: 8 * HANDLES }, (_, i) => (i / (8 * HANDLES)) * 2 * Math.PI - Math.PI / 2);
    return new Outline(angles.map((a) => [x + (width / 2) * Math.cos(a), y + (height / 2) * Math.sin(a)]));
  }

  get touched() {
    return this.shifts.some(([x, y]) => x !== 0 || y !== 0);
  }

  /** The outline as it is now. */
  get curve() {
    if (!this.touched) return this.ring;
    return this.ring.map(([x, y], i) => {
      const [dx, dy] = closedCurve(this.shifts, this.#places[i]);
      return [x + dx, y + dy];
    });
  }

  get handles() {
    return this.shifts.map(([dx, dy], k) => {
      const [x, y] = this.#pointAt(k);
      return [x + dx, y + dy];
    });
  }

  get centre() {
    const handles = this.handles;
    return [0, 1].map((axis) => handles.reduce((sum, handle) => sum + handle[axis], 0) / HANDLES);
  }

  /** Handle `k` moved, its neighbours less and less: a bulge, not a spike. */
  reshaped(k, dx, dy) {
    return this.#shifted((i) => {
      const away = Math.min((i - k + HANDLES) % HANDLES, (k - i + HANDLES) % HANDLES);
      const weight = away < REACH ? (1 + Math.cos((Math.PI * away) / REACH)) / 2 : 0;
      return [weight * dx, weight * dy];
    });
  }

  moved(dx, dy) {
    return this.#shifted(() => [dx, dy]);
  }

  resized(factor) {
    const [x, y] = this.centre;
    const handles = this.handles;
    return this.#shifted((i) => [(factor - 1) * (handles[i][0] - x), (factor - 1) * (handles[i][1] - y)]);
  }

  #shifted(by) {
    const shifts = this.shifts.map(([x, y], i) => {
      const [dx, dy] = by(i);
      return [x + dx, y + dy];
    });
    return new Outline(this.ring, shifts, this.#places);
  }

  #pointAt(place) {
    const after = this.#places.findIndex((other) => other >= place);
    const [last, next] = after === -1 ? [this.ring.length - 1, 0] : [Math.max(0, after - 1), after];
    const from = this.#places[last];
    const span = (after === -1 ? HANDLES : this.#places[next]) - from;
    const share = span ? (place - from) / span : 0;
    return [0, 1].map((axis) => this.ring[last][axis] + share * (this.ring[next][axis] - this.ring[last][axis]));
  }
}

/** Which pixels an outline holds, for each row: [row, first column, last column]; pixels on the outline are inside. */
export function filledRows(ring, width, height) {
  const ys = ring.map(([, y]) => y);
  const rows = [];
  for (let y = Math.max(0, Math.ceil(Math.min(...ys))); y <= Math.min(height - 1, Math.floor(Math.max(...ys))); y += 1) {
    for (const [from, to] of spans(ring, y)) {
      const [first, last] = [Math.max(0, Math.ceil(from - 1e-6)), Math.min(width - 1, Math.floor(to + 1e-6))];
      if (first <= last) rows.push([y, first, last]);
    }
  }
  return rows;
}

// where the row's line runs inside the ring; edges that lie on the line are spans of their own
function spans(ring, y) {
  const crossings = [];
  const found = [];
  ring.forEach(([x0, y0], i) => {
    const [x1, y1] = ring[(i + 1) % ring.length];
    if (y0 === y1) {
      if (y0 === y) found.push([Math.min(x0, x1), Math.max(x0, x1)]);
    } else if (y >= Math.min(y0, y1) && y < Math.max(y0, y1)) {
      crossings.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
    }
    if (y0 === y) found.push([x0, x0]);
  });
  crossings.sort((a, b) => a - b);
  for (let i = 0; i + 1 < crossings.length; i += 2) found.push([crossings[i], crossings[i + 1]]);
  return found;
}

function withPointsBetween(ring) {
  const step = Math.max(1, lengthOf(ring) / 400);
  return ring.flatMap(([x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length];
    const pieces = Math.max(1, Math.round(Math.hypot(nextX - x, nextY - y) / step));
    return Array.from({ length: pieces }, (_, j) => [x + (j / pieces) * (nextX - x), y + (j / pieces) * (nextY - y)]);
  });
}

function placesOf(ring) {
  const total = lengthOf(ring);
  let travelled = 0;
  return ring.map((point, i) => {
    const place = (travelled / total) * HANDLES;
    const next = ring[(i + 1) % ring.length];
    travelled += Math.hypot(next[0] - point[0], next[1] - point[1]);
    return place;
  });
}

function lengthOf(ring) {
  return ring.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length];
    return sum + Math.hypot(nextX - x, nextY - y);
  }, 0);
}

// Catmull-Rom: passes through every value, and a constant stays one
function closedCurve(values, place) {
  const k = Math.floor(place);
  const t = place - k;
  const [a, b, c, d] = [-1, 0, 1, 2].map((offset) => values[(k + offset + values.length) % values.length]);
  return [0, 1].map(
    (axis) =>
      0.5 *
      (2 * b[axis] +
        (c[axis] - a[axis]) * t +
        (2 * a[axis] - 5 * b[axis] + 4 * c[axis] - d[axis]) * t * t +
        (3 * b[axis] - a[axis] - 3 * c[axis] + d[axis]) * t * t * t),
  );
}
