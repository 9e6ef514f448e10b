// Right and left eye of one person side by side, and how much their ratios differ.

import { element } from "./elements.js";
import { ratiosOf } from "./findings.js";
import { scale } from "./scale.js";
import { ASYMMETRY, asymmetryZone, EYES, nameWithoutEye, ratio } from "./words.js";

/** Photographs whose names differ in the eye alone: [{ right, left }, …]. */
export function pairsByName(entries) {
  const groups = grouped(entries, (entry) => nameWithoutEye(entry.name));
  return [...groups.values()].flatMap((group) => {
    const [right, left] = ["right", "left"].map((eye) => group.filter((entry) => entry.eye === eye));
    return right.length === 1 && left.length === 1 ? [{ right: right[0], left: left[0] }] : [];
  });
}

/** `chosen`: { right, left } by hand, either may be null; `does`: { choose, open, draw }. */
export function pairs(entries, chosen, does) {
  const found = pairsByName(entries);
  const byHand = chosen.right && chosen.left ? chosen : null;
  const shown = byHand && !found.some((pair) => pair.right === byHand.right && pair.left === byHand.left) ? [byHand, ...found] : found;
  return [
    element(
      "div",
      { class: "pair-choice" },
      chooser("right", entries, chosen, does),
      chooser("left", entries, chosen, does),
      element("p", { class: "fine" }, "Photographs whose names differ in the eye alone (OD and OS, right and left) are paired by themselves."),
    ),
    shown.length ? shown.map((pair) => card(pair, does)) : element("p", { class: "empty" }, "Choose a right and a left eye to compare them."),
  ];
}

function chooser(eye, entries, chosen, does) {
  const id = `pair-${eye}`;
  const fitting = entries.filter((entry) => entry.eye === eye || entry.eye === "unknown");
  const option = (entry) => element("option", { value: entry.id, selected: chosen[eye] === entry }, entry.name);
  return element(
    "div",
    { class: "field" },
    element("label", { for: id }, EYES[eye]),
    element(
      "select",
      { id, onchange: (event) => does.choose(eye, entries.find((entry) => String(entry.id) === event.target.value) ?? null) },
      element("option", { value: "" }, "Choose…"),
      fitting.map(option),
    ),
  );
}

function card({ right, left }, does) {
  const [ofRight, ofLeft] = [right, left].map((entry) => ratiosOf(entry)?.vertical ?? null);
  const both = ofRight !== null && ofLeft !== null;
  const difference = both ? Math.abs(ofRight - ofLeft) : null;
  const where = both ? asymmetryZone(difference) : null;
  return element(
    "article",
    { class: "card pair" },
    side(right, "right", ofRight, does),
    side(left, "left", ofLeft, does),
    element(
      "div",
      { class: "difference" },
      element("h3", {}, "Difference of the vertical ratios"),
      element("p", { class: "figure" }, element("strong", { class: "asymmetry" }, ratio(difference))),
      both && scale({ value: difference, limits: ASYMMETRY, end: 0.5, sentence: where.sentence }),
      both
        ? element("p", { class: `reading ${where.name}` }, where.sentence)
        : element("p", {}, "Both eyes must be gradable, or outlined by hand."),
      element("p", { class: "fine" }, `Research use, not a diagnosis. Limits: 97.5th and 99.5th percentile without glaucoma (${ASYMMETRY.source}).`),
    ),
  );
}

function side(entry, eye, vertical, does) {
  return element(
    "div",
    { class: "side" },
    element("h3", {}, EYES[eye]),
    does.draw(entry),
    element("p", { class: "figure" }, element("strong", {}, ratio(vertical)), entry.correction?.measured && element("span", { class: "with" }, "corrected")),
    element("button", { type: "button", class: "open", onclick: () => does.open(entry) }, entry.name),
  );
}

function grouped(entries, keyOf) {
  const groups = new Map();
  for (const entry of entries) groups.set(keyOf(entry), [...(groups.get(keyOf(entry)) ?? []), entry]);
  return groups;
}
