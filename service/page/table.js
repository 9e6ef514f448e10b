// All photographs at a glance, sortable.

import { element, icon } from "./elements.js";
import { ratiosOf } from "./findings.js";
import { EYES, interval, ratio, REASONS, zone } from "./words.js";

const ORDER = { failed: 0, waiting: 1, sending: 2, reading: 3, done: 4 };
const COLUMNS = [
  { name: "Photograph", key: (entry) => entry.name.toLowerCase() },
  { name: "Eye", key: (entry) => entry.eye },
  { name: "Vertical ratio", key: (entry) => ratiosOf(entry)?.vertical ?? null },
  { name: "Interval", key: (entry) => entry.answer?.cup_to_disc_ratio?.vertical_interval?.low ?? null },
  { name: "Horizontal", key: (entry) => ratiosOf(entry)?.horizontal ?? null },
  { name: "Area", key: (entry) => ratiosOf(entry)?.area ?? null },
  { name: "State", key: (entry) => ORDER[entry.state] + (entry.answer?.gradable ? 1 : 0) },
];

/** `sorting`: { column, down }; `does`: { open, remove, sort, thumbnail }. */
export function table(entries, sorting, does) {
  const head = COLUMNS.map((column, i) => {
    const direction = sorting.column === i ? (sorting.down ? "descending" : "ascending") : null;
    return element(
      "th",
      { scope: "col", "aria-sort": direction, class: i > 1 && i < 6 ? "number" : null },
      element("button", { type: "button", id: `sort-${i}`, onclick: () => does.sort(i) }, column.name),
    );
  });
  return element(
    "table",
    { class: "photographs" },
    element("caption", { class: "unseen" }, "Photographs with their ratios; the column heads sort"),
    element("thead", {}, element("tr", {}, head, element("th", { scope: "col" }, element("span", { class: "unseen" }, "Remove")))),
    element("tbody", {}, sorted(entries, sorting).map((entry) => row(entry, does))),
  );
}

export function sorted(entries, { column, down }) {
  if (column === null) return entries;
  const { key } = COLUMNS[column];
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  return [...entries].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last, either way
    return down ? -compare(a, b) : compare(a, b);
  });
}

function row(entry, does) {
  const ratios = ratiosOf(entry);
  const spread = entry.correction?.measured ? null : entry.answer?.cup_to_disc_ratio?.vertical_interval;
  const opens = (event) => event.target.closest("button") || does.open(entry);
  return element(
    "tr",
    { class: `state-${entry.state}`, onclick: opens },
    element(
      "th",
      { scope: "row" },
      element(
        "div",
        { class: "named" },
        does.thumbnail(entry),
        element(
          "div",
          { class: "name" },
          element("button", { type: "button", class: "open", id: `open-${entry.id}`, onclick: () => does.open(entry) }, entry.name),
          element("p", { class: "state beside", "aria-hidden": "true" }, state(entry)), // on a phone, in the column's place
        ),
      ),
    ),
    element("td", { class: "eye-cell" }, entry.eye === "unknown" ? "–" : EYES[entry.eye].replace(" eye", "")),
    element(
      "td",
      { class: "number main" },
      ratios && element("span", { class: `dot ${zone(ratios.vertical).name}`, role: "img", "aria-label": zone(ratios.vertical).sentence, title: zone(ratios.vertical).sentence }),
      ratio(ratios?.vertical),
    ),
    element("td", { class: "number" }, interval(spread)),
    element("td", { class: "number" }, ratio(ratios?.horizontal)),
    element("td", { class: "number" }, ratio(ratios?.area)),
    element("td", { class: "state" }, state(entry)),
    element(
      "td",
      {},
      element("button", { type: "button", class: "quiet icon-only", "aria-label": `Remove ${entry.name}`, onclick: () => does.remove(entry) }, icon("close")),
    ),
  );
}

function state(entry) {
  if (entry.state === "waiting") return "Waiting";
  if (entry.state === "sending") return `Sending ${Math.round(entry.sent * 100)} %`;
  if (entry.state === "reading") return "Outlining…";
  if (entry.state === "failed") return element("span", { class: "bad" }, icon("warn"), entry.problem.sentence);
  if (entry.correction?.measured) return element("span", { class: "mine" }, icon("pen"), "Corrected");
  if (entry.answer.gradable) return element("span", { class: "good" }, icon("check"), "Gradable");
  const why = entry.answer.reasons.map((reason) => REASONS[reason]?.[0] ?? reason).join(" ");
  return element("span", { class: "bad" }, icon("warn"), `Not gradable. ${why}`);
}
