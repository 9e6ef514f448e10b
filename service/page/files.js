// What can be saved: tables, label masks, training folders. Files are made here, in memory.

import { decoded } from "./api.js";
import { outlinesOf } from "./drawing.js";
import { filledRows } from "./outline.js";
import { zip } from "./zip.js";
import { labelPng } from "./png.js";

const CROP = 0.25; // of the photograph's shorter side: a disc that is larger fills a crop, not a whole photograph
const ORIGINAL = { JPEG: "jpg", PNG: "png" }; // kinds of photograph that a training folder takes as they are
const COLUMNS = {
  file: (entry) => entry.name,
  eye: (entry) => entry.eye,
  error: (entry) => entry.problem?.code,
  gradable: (entry) => entry.answer?.gradable,
  reasons: (entry) => entry.answer?.reasons.join(" "),
  vertical_ratio: (entry) => entry.answer?.cup_to_disc_ratio?.vertical,
  vertical_low: (entry) => entry.answer?.cup_to_disc_ratio?.vertical_interval?.low,
  vertical_high: (entry) => entry.answer?.cup_to_disc_ratio?.vertical_interval?.high,
  horizontal_ratio: (entry) => entry.answer?.cup_to_disc_ratio?.horizontal,
  area_ratio: (entry) => entry.answer?.cup_to_disc_ratio?.area,
  corrected_vertical_ratio: (entry) => entry.correction?.measured?.cup_to_disc_ratio?.vertical,
  corrected_horizontal_ratio: (entry) => entry.correction?.measured?.cup_to_disc_ratio?.horizontal,
  corrected_area_ratio: (entry) => entry.correction?.measured?.cup_to_disc_ratio?.area,
  disc_area: (entry) => entry.answer?.disc?.area,
  disc_width: (entry) => entry.answer?.disc?.box.width,
  disc_height: (entry) => entry.answer?.disc?.box.height,
  cup_area: (entry) => entry.answer?.cup?.area,
  cup_width: (entry) => entry.answer?.cup?.box.width,
  cup_height: (entry) => entry.answer?.cup?.box.height,
  disc_confidence: (entry) => entry.answer?.disc?.confidence,
  cup_confidence: (entry) => entry.answer?.cup?.confidence,
  distance_from_training: (entry) => entry.answer?.quality.distance_from_training,
  sharpness: (entry) => entry.answer?.quality.sharpness,
  version: (entry) => entry.answer?.version.version,
  sha256: (entry) => entry.answer?.version.sha256,
  convention: (entry) => entry.answer?.version.convention,
};

/** One row for each photograph; unknown cells are empty. */
export function csv(entries) {
  const rows = entries.map((entry) => Object.values(COLUMNS).map((value) => cell(value(entry))));
  return new Blob([[Object.keys(COLUMNS), ...rows].map((row) => `${row.join(",")}\r\n`).join("")], { type: "text/csv" });
}

/** Corrected photographs as a folder that `cupdisc-train` reads: index.csv, images/, masks/; a zip. */
export async function trainingFolder(entries) {
  const files = [];
  const index = ["id,disc,cup,view"];
  const taken = new Set();
  for (const entry of entries) {
    const id = freeName(stem(entry.name), taken);
    const { width, height, format } = entry.answer.image;
    const suffix = ORIGINAL[format] ?? "png";
    const photograph = format in ORIGINAL ? entry.file : await decoded(entry.file);
    files.push({ name: `images/${id}.${suffix}`, content: photograph });
    files.push({ name: `masks/${id}.png`, content: await labelPng(labels(entry), width, height) });
    const disc = entry.correction.measured.disc.box;
    index.push(`${id},1,1,${Math.max(disc.width, disc.height) > CROP * Math.min(width, height) ? "crop" : "full"}`);
  }
  return zip([{ name: "index.csv", content: new Blob([`${index.join("\n")}\n`]) }, ...files]);
}

/** One byte per pixel: 0 background, 1 rim, 2 cup. The cup ends where the disc does. */
export function labels(entry) {
  const { width, height } = entry.answer.image;
  const values = new Uint8Array(width * height);
  const { disc, cup } = outlinesOf(entry);
  for (const [y, first, last] of filledRows(disc, width, height)) values.fill(1, y * width + first, y * width + last + 1);
  for (const [y, first, last] of filledRows(cup, width, height)) {
    for (let i = y * width + first; i <= y * width + last; i += 1) if (values[i]) values[i] = 2;
  }
  return values;
}

export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** The name without its ending, with nothing in it that a file system minds. */
export function stem(name) {
  return name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "_").slice(0, 80) || "photograph";
}

function freeName(name, taken) {
  let free = name;
  for (let number = 2; taken.has(free.toLowerCase()); number += 1) free = `${name}-${number}`;
  taken.add(free.toLowerCase());
  return free;
}

// a name that begins like a formula must not become one in a spreadsheet
function cell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
