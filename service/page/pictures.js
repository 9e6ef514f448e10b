// Photographs as bitmaps for drawing. A few are kept; the others are decoded again when they are needed.

import { decoded } from "./api.js";

const KEPT = 4;
const kept = new Map(); // id: { decoding, bitmap, redFree }, the least recently used first

/** The upright photograph as an ImageBitmap of the size that the service measured in. */
export async function picture(entry) {
  return (await load(entry)).bitmap;
}

/** Its green channel in grey: vessels and the nerve fibre layer stand out. A canvas. */
export async function redFree(entry) {
  const found = await load(entry);
  found.redFree ??= greenChannel(found.bitmap);
  return found.redFree;
}

export function forget(entry) {
  kept.delete(entry.id);
}

async function load(entry) {
  let found = kept.get(entry.id) ?? begin(entry);
  const image = entry.answer?.image;
  const { width, height } = await found.decoding;
  if (image && (width !== image.width || height !== image.height)) {
    found = kept.get(entry.id);
    if (found?.checked !== true) found = begin(entry);
    found.checked = true;
  }
  kept.delete(entry.id);
  kept.set(entry.id, found);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  found.bitmap = await found.decoding;
  return found;
}

function begin(entry) {
  const decoding = decode(entry.file, entry.answer?.image);
  const found = { decoding, bitmap: null, redFree: null };
  kept.set(entry.id, found);
  decoding.catch(() => kept.get(entry.id) === found && kept.delete(entry.id));
  return found;
}

// the browser decodes what it can; the service does the rest, and what the browser would turn otherwise
async function decode(file, image) {
  try {
    const bitmap = await createImageBitmap(file);
    if (!image || (bitmap.width === image.width && bitmap.height === image.height)) return bitmap;
  } catch {
    // not a format of this browser
  }
  return createImageBitmap(await decoded(file));
}

function greenChannel(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const values = pixels.data;
  for (let i = 0; i < values.length; i += 4) values[i] = values[i + 2] = values[i + 1];
  context.putImageData(pixels, 0, 0);
  return canvas;
}
