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

/**
 * The table, kept up to date row by row: a row that says the same stays the same element, so that a click on it is not
 * lost while another photograph is on its way. `does`: { open, remove, sort, thumbnail }.
 */
export class Table {
  #does;
  #heads;
  #body = element("tbody");
  #rows = new Map(); // id: { told, node }

  constructor(parent, does) {
    this.#does = does;
    this.#heads = COLUMNS.map((column, i) =>
      element(
        "th",
        { scope: "col", class: i > 1 && i < 6 ? "number" : null },
        element("button", { type: "button", onclick: () => does.sort(i) }, column.name),
      ),
    );
    const last = element("th", { scope: "col" }, element("span", { class: "unseen" }, "Remove"));
    parent.replaceChildren(
      element(
        "table",
        { class: "photographs" },
        element("caption", { class: "unseen" }, "Photographs with their ratios; the column heads sort"),
        element("thead", {}, element("tr", {}, this.#heads, last)),
        this.#body,
      ),
    );
  }

  /** `sorting`: { column, down }. */
  show(entries, sorting) {
    this.#heads.forEach((head, i) => {
      if (sorting.column === i) head.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const known = new Set(entries.map((entry) => entry.id));
    for (const id of this.#rows.keys()) if (!known.has(id)) this.#rows.delete(id);
    const rows = sorted(entries, sorting).map((entry) => this.#row(entry));
    const there = [...this.#body.children];
    if (rows.length !== there.length || rows.some((node, i) => node !== there[i])) this.#body.replaceChildren(...rows);
  }

  #row(entry) {
    const told = JSON.stringify([entry.state, stateOf(entry).words, entry.eye, ratiosOf(entry), entry.answer?.reasons]);
    const before = this.#rows.get(entry.id);
    if (before?.told === told) return before.node;
    const node = row(entry, this.#does);
    const focused = before?.node.contains(document.activeElement) ? document.activeElement.id : null;
    before?.node.replaceWith(node);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    this.#rows.set(entry.id, { told, node });
    return node;
  }
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
      element("button", { type: "button", class: "quiet icon-only", id: `remove-${entry.id}`, "aria-label": `Remove ${entry.name}`, onclick: () => does.remove(entry) }, icon("close")),
    ),
  );
}

function state(entry) {
  const { kind, sign, words } = stateOf(entry);
  return kind ? element("span", { class: kind }, icon(sign), words) : words;
}

function stateOf(entry) {
  if (entry.state === "waiting") return { words: "Waiting" };
  if (entry.state === "sending") return { words: `Sending ${Math.round(entry.sent * 10) * 10} %` };
  if (entry.state === "reading") return { words: "Outlining…" };
  if (entry.state === "failed") return { kind: "bad", sign: "warn", words: entry.problem.sentence };
  if (entry.correction?.measured) return { kind: "mine", sign: "pen", words: "Corrected" };
  if (entry.answer.gradable) return { kind: "good", sign: "check", words: "Gradable" };
  const why = entry.answer.reasons.map((reason) => REASONS[reason]?.[0] ?? reason).join(" ");
  return { kind: "bad", sign: "warn", words: `Not gradable. ${why}` };
}
