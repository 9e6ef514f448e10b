// Draws outlines on a canvas: in the viewer, in thumbnails, in pairs.

export const COLOURS = { disc: "#00ff7f", cup: "#4a9dff" }; // as the service draws its overlay, the cup a little lighter

/** The rings to draw for a photograph: corrected where a person did so. Points are centres of the outermost pixels. */
export function outlinesOf(entry) {
  if (entry.correction?.measured || entry.correction?.open) {
    return { disc: curveOf(entry.correction.outlines.disc), cup: curveOf(entry.correction.outlines.cup) };
  }
  return originalOutlines(entry);
}

export function originalOutlines(entry) {
  return { disc: largest(entry.answer?.disc), cup: largest(entry.answer?.cup) };
}

/** The square around the disc that shows it best, or the whole photograph: { x, y, side }, x and y its middle. */
export function regionOfInterest(entry, diameters = 2.2) {
  const box = (entry.correction?.measured?.disc ?? entry.answer?.disc)?.box;
  if (box) {
    const side = diameters * Math.max(box.width, box.height);
    return { x: box.left + box.width / 2, y: box.top + box.height / 2, side };
  }
  const { width, height } = entry.answer?.image ?? { width: 1, height: 1 };
  return { x: width / 2, y: height / 2, side: Math.max(width, height) };
}

/** `toScreen` takes a place in the photograph (the first pixel's centre is 0.5, 0.5) to the canvas. */
export function drawOutlines(context, outlines, toScreen, { disc = true, cup = true, opacity = 1, width = 2, dashed = false } = {}) {
  context.save();
  context.lineJoin = "round";
  if (disc && cup && outlines.disc && outlines.cup && !dashed) {
    context.globalAlpha = 0.07 * opacity; // a hint only: the rim's own colour matters
    context.fillStyle = COLOURS.disc;
    context.beginPath();
    trace(context, outlines.disc, toScreen);
    trace(context, outlines.cup, toScreen);
    context.fill("evenodd");
  }
  for (const [name, shown] of [["disc", disc], ["cup", cup]]) {
    if (!shown || !outlines[name]) continue;
    context.beginPath();
    trace(context, outlines[name], toScreen);
    context.setLineDash(dashed ? [5, 5] : []);
    context.globalAlpha = 0.5 * opacity;
    context.strokeStyle = "#000";
    context.lineWidth = width + 1.5; // a dark edge: the line stays readable on a pale disc
    context.stroke();
    context.globalAlpha = opacity * (dashed ? 0.8 : 1);
    context.strokeStyle = COLOURS[name];
    context.lineWidth = width;
    context.stroke();
  }
  context.restore();
}

/** The region around the disc with its outlines, filling a square canvas. */
export function drawDisc(canvas, bitmap, entry, { diameters = 2.2, width = 2, outlines = true } = {}) {
  const region = regionOfInterest(entry, diameters);
  const context = canvas.getContext("2d");
  const scale = canvas.width / region.side;
  const [left, top] = [canvas.width / 2 - region.x * scale, canvas.height / 2 - region.y * scale];
  context.fillStyle = "#0b0e11";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, left, top, bitmap.width * scale, bitmap.height * scale);
  if (outlines) drawOutlines(context, outlinesOf(entry), ([x, y]) => [left + x * scale, top + y * scale], { width });
}

function curveOf(outline) {
  return outline?.curve ?? null;
}

function largest(structure) {
  const rings = structure?.mask?.rings ?? [];
  return rings.reduce((best, ring) => (ring.length > (best?.length ?? 0) ? ring : best), null);
}

function trace(context, ring, toScreen) {
  smooth(ring).forEach(([x, y], i) => {
    const place = toScreen([x + 0.5, y + 0.5]);
    if (i) context.lineTo(...place);
    else context.moveTo(...place);
  });
  context.closePath();
}

const smoothed = new WeakMap();

// For the eye only: a mask's edge goes in steps of a pixel. One point per pixel of length, averaged over seven.
function smooth(ring) {
  let found = smoothed.get(ring);
  if (!found) {
    const dense = ring.flatMap(([x, y], i) => {
      const [nextX, nextY] = ring[(i + 1) % ring.length];
      const pieces = Math.max(1, Math.round(Math.hypot(nextX - x, nextY - y)));
      return Array.from({ length: pieces }, (_, j) => [x + (j / pieces) * (nextX - x), y + (j / pieces) * (nextY - y)]);
    });
    const reach = Math.min(3, Math.floor(dense.length / 16));
    found = dense.map((_, i) => {
      let [x, y] = [0, 0];
      for (let j = -reach; j <= reach; j += 1) {
        const point = dense[(i + j + dense.length) % dense.length];
        x += point[0];
        y += point[1];
      }
      return [x / (2 * reach + 1), y / (2 * reach + 1)];
    });
    smoothed.set(ring, found);
  }
  return found;
}
