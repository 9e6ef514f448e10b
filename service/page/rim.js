// The rim's width by sector: a drawn disc, each wedge as thick as the rim is there, and the same as a table.

import { drawing, element } from "./elements.js";
import { SECTORS } from "./words.js";

// degrees from the temporal side upwards (Garway-Heath et al. 2000), and for quadrants from the picture's right upwards
const SPANS = {
  temporal: [-45, 45],
  superotemporal: [45, 85],
  superonasal: [85, 125],
  nasal: [125, 235],
  inferonasal: [235, 275],
  inferotemporal: [275, 315],
  right: [-45, 45],
  superior: [45, 135],
  left: [135, 225],
  inferior: [225, 315],
};
const SHORT = {
  temporal: "T", superotemporal: "ST", superonasal: "SN", nasal: "N", inferonasal: "IN", inferotemporal: "IT",
  right: "", superior: "S", left: "", inferior: "I",
};
const RADIUS = 62;

/** `sectors` of an answer's `rim`; `eye` turns them as in the photograph. */
export function rimChart(sectors, eye) {
  const known = sectors.filter((sector) => sector.name in SPANS);
  return element("div", { class: "rim" }, wheel(known, eye), table(known));
}

function wheel(sectors, eye) {
  const wedges = sectors.map((sector) => {
    const [from, to] = SPANS[sector.name].map((degrees) => towardsPicture(degrees, sector.name, eye));
    const inner = RADIUS * Math.max(0, 1 - 2 * sector.width_in_disc_diameters);
    const thin = sector === thinnest(sectors) ? " thinnest" : "";
    return drawing("path", { class: `wedge${thin}`, d: ringPiece(from, to, inner, RADIUS) });
  });
  const labels = sectors.map((sector) => {
    const middle = SPANS[sector.name].reduce((sum, degrees) => sum + towardsPicture(degrees, sector.name, eye), 0) / 2;
    const [x, y] = polar(middle, RADIUS + 13);
    return drawing("text", { x, y: y + 4, "text-anchor": "middle" }, SHORT[sector.name]);
  });
  return drawing("svg", { class: "rim-wheel", viewBox: "-84 -84 168 168", "aria-hidden": "true" }, wedges, labels);
}

function thinnest(sectors) {
  return sectors.reduce((least, one) => (one.smallest_in_disc_diameters < least.smallest_in_disc_diameters ? one : least));
}

function table(sectors) {
  const cell = (value) => element("td", {}, value.toFixed(2));
  const row = (sector) =>
    element(
      "tr",
      { class: sector === thinnest(sectors) ? "thinnest" : null, title: `${sector.width.toFixed(1)} and ${sector.smallest.toFixed(1)} pixels` },
      element("th", { scope: "row" }, SECTORS[sector.name]),
      cell(sector.width_in_disc_diameters),
      cell(sector.smallest_in_disc_diameters),
    );
  return element(
    "table",
    { class: "numbers" },
    element("caption", { class: "unseen" }, "Width of the rim in disc diameters"),
    element("thead", {}, element("tr", {}, ...["Sector", "mean", "smallest"].map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, sectors.map(row)),
  );
}

// mathematical degrees in the picture: a right eye's temporal side is on its left
function towardsPicture(degrees, name, eye) {
  const quadrant = ["right", "superior", "left", "inferior"].includes(name);
  return !quadrant && eye === "right" ? 180 - degrees : degrees;
}

function polar(degrees, radius) {
  const angle = (degrees * Math.PI) / 180;
  return [radius * Math.cos(angle), -radius * Math.sin(angle)];
}

function ringPiece(from, to, inner, outer) {
  const point = (degrees, radius) => polar(degrees, radius).map((value) => value.toFixed(2)).join(" ");
  const [way, back] = from < to ? [0, 1] : [1, 0];
  const large = Math.abs(to - from) > 180 ? 1 : 0;
  return `M${point(from, outer)}A${outer} ${outer} 0 ${large} ${way} ${point(to, outer)}L${point(to, inner)}A${inner} ${inner} 0 ${large} ${back} ${point(from, inner)}Z`;
}
