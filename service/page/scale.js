// A number on a line from 0 to its end, between normal and suspect, with its interval.

import { element } from "./elements.js";

/**
 * `limits`: { low, high }; `value` the number to read, `interval` { low, high } or null, `before` an older value or
 * null; `end` of the line; `sentence` says in words where the value lies.
 */
export function scale({ value, interval = null, before = null, limits, end = 1, sentence }) {
  const at = (number) => `${(100 * Math.min(Math.max(number, 0), end)) / end}%`;
  const band = (kind, from, to) => place(element("span", { class: `band ${kind}` }), at(from), at(to));
  const tick = (number) => place(element("span", { class: "tick" }, String(number)), at(number));
  const spread = [interval && `interval ${interval.low.toFixed(2)} to ${interval.high.toFixed(2)}`];
  const words = [value.toFixed(2), ...spread, before !== null && `before correction ${before.toFixed(2)}`, sentence];
  return element(
    "div",
    { class: "scale", role: "img", "aria-label": words.filter(Boolean).join("; ") },
    element(
      "div",
      { class: "scale-line" },
      band("normal", 0, limits.low),
      band("between", limits.low, limits.high),
      band("suspect", limits.high, end),
      interval && place(element("span", { class: "spread" }), at(interval.low), at(interval.high)),
      before !== null && place(element("span", { class: "mark before" }), at(before)),
      place(element("span", { class: "mark" }), at(value)),
    ),
    element("div", { class: "scale-ticks" }, tick(0), tick(limits.low), tick(limits.high), tick(end)),
    element(
      "div",
      { class: "scale-names" },
      place(element("span", {}, "normal"), at(limits.low / 2)),
      place(element("span", {}, "suspect"), at((limits.high + end) / 2)),
    ),
  );
}

function place(node, from, to) {
  node.style.setProperty("--from", from);
  if (to) node.style.setProperty("--to", to);
  return node;
}
