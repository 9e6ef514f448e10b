// Everything that is known about one photograph, beside its picture.

import { element, icon } from "./elements.js";
import { rimChart } from "./rim.js";
import { scale } from "./scale.js";
import { EYES, interval, percent, ratio, REASONS, UNKNOWN, VERTICAL, zone } from "./words.js";

/** `does`: { setEye, correct, again, remove, save }, what the buttons call. */
export function findings(entry, does, correcting) {
  if (entry.state === "failed") return [failure(entry, does)];
  if (!entry.answer) return [eyeChoice(entry, does), awaited()];
  if (correcting) return [corrected(entry), rim(entry)];
  return [
    eyeChoice(entry, does),
    whoseCups(does),
    entry.problem && element("p", { class: "note warn", role: "alert" }, icon("warn"), entry.problem.sentence, " ", entry.problem.advice),
    verdict(entry),
    entry.correction ? corrected(entry) : measured(entry),
    actions(entry, does),
    rim(entry),
    details(entry),
  ];
}

/** The ratios to show: a person's where there are any, the network's otherwise. */
export function ratiosOf(entry) {
  return entry.correction?.measured?.cup_to_disc_ratio ?? entry.answer?.cup_to_disc_ratio ?? null;
}

function eyeChoice(entry, does) {
  const choice = ([value, label]) =>
    element(
      "label",
      {},
      element("input", {
        type: "radio", name: "eye", id: `eye-${value}`, value,
        checked: entry.eye === value,
        onchange: () => does.setEye(value),
      }),
      element("span", {}, value === "unknown" ? "Not told" : label),
    );
  return element(
    "div",
    { class: "eye" },
    element("fieldset", { class: "segments" }, element("legend", { class: "unseen" }, "Which eye"), Object.entries(EYES).map(choice)),
    entry.eyeFromName && element("p", { class: "fine" }, "Read from the file’s name."),
  );
}

function failure(entry, does) {
  const { sentence, advice, again, code } = entry.problem;
  return element(
    "div",
    { class: "card failure", role: "alert" },
    element("h3", {}, icon("warn"), sentence),
    element("p", {}, advice),
    element(
      "div",
      { class: "row" },
      again && element("button", { type: "button", class: "button primary", id: "again", onclick: does.again }, "Try again"),
      element("button", { type: "button", class: "button", id: "remove", onclick: does.remove }, "Remove"),
    ),
    element("p", { class: "fine" }, "Code ", element("code", {}, code)),
  );
}

function awaited() {
  return element("div", { class: "card awaited", "aria-hidden": "true" }, element("i"), element("i"), element("i"));
}

function verdict(entry) {
  const { gradable, reasons } = entry.answer;
  if (gradable) return element("p", { class: "verdict good" }, icon("check"), "Gradable");
  return element(
    "div",
    { class: "card refused" },
    element("h3", {}, icon("warn"), "Not gradable: no ratio is given"),
    element(
      "ul",
      {},
      reasons.map((reason) => {
        const [why, advice] = REASONS[reason] ?? [reason, ""];
        return element("li", {}, element("strong", {}, why), " ", advice);
      }),
    ),
  );
}

function measured(entry) {
  const ratios = entry.answer.cup_to_disc_ratio;
  if (!ratios) return null;
  const { vertical, vertical_interval: spread } = ratios;
  const where = zone(vertical, spread);
  return element(
    "section",
    { class: "card ratio", "aria-labelledby": "ratio-title" },
    element("h3", { id: "ratio-title" }, "Vertical cup-to-disc ratio"),
    element(
      "p",
      { class: "figure" },
      element("strong", { id: "vertical" }, ratio(vertical)),
      spread && element("span", { class: "with" }, element("b", {}, interval(spread)), ` ${percent(spread.coverage)} interval`),
    ),
    scale({ value: vertical, interval: spread, limits: VERTICAL, sentence: where.sentence }),
    reading(where),
    others(ratios),
  );
}

// experts of different clinics draw other cups on the same eye
function whoseCups({ whose: { names, own, chosen }, setConvention }) {
  if (!names.length) return null;
  const choices = own === null ? [null, ...names] : names;
  return element(
    "label",
    { class: "whose" },
    "Cups as drawn by ",
    element(
      "select",
      { id: "convention", onchange: (event) => setConvention(event.target.value || null) },
      choices.map((name) => element("option", { value: name ?? "", selected: name === chosen }, name ?? "nobody in particular")),
    ),
  );
}

function corrected(entry) {
  const { measured: mine, problem, pending, drawn } = entry.correction;
  const before = entry.answer.cup_to_disc_ratio?.vertical ?? null;
  const now = mine?.cup_to_disc_ratio ?? null;
  const where = now && zone(now.vertical);
  return element(
    "section",
    { class: "card ratio", "aria-labelledby": "ratio-title", "aria-busy": String(pending) },
    element("h3", { id: "ratio-title" }, "Vertical cup-to-disc ratio"),
    element(
      "p",
      { class: "figure two" },
      element("span", { class: "old" }, element("small", {}, "Network"), element("strong", { id: "vertical" }, ratio(before))),
      element("span", { class: "arrow", "aria-hidden": "true" }, "→"),
      element("span", { class: "new" }, element("small", {}, "Corrected"), element("strong", { id: "vertical-corrected" }, now ? ratio(now.vertical) : UNKNOWN)),
    ),
    now && scale({ value: now.vertical, before, limits: VERTICAL, sentence: where.sentence }),
    now && reading(where),
    !now && !problem && element("p", { class: "fine" }, pending ? "Measuring…" : "Drag a point of the outline; the service measures it anew."),
    problem && element("p", { class: "note warn", role: "alert" }, icon("warn"), `${problem.sentence} ${problem.advice}`),
    mine?.cup_outside > 0 && element("p", { class: "note" }, `${percent(mine.cup_outside)} of the cup lies outside the disc and does not count.`),
    drawn.length > 0 && !problem && element("p", { class: "note" }, `The ${drawn.join(" and the ")} began as a plain ellipse, not as a finding: pull it into place.`),
    now && others(now),
  );
}

function reading(where) {
  return [
    element("p", { class: `reading ${where.name}` }, where.sentence),
    element(
      "p",
      { class: "fine" },
      "Research use, not a diagnosis. Limits: 97.5th percentile of healthy eyes, from small discs to large (",
      element("a", { href: VERTICAL.address, rel: "noreferrer", target: "_blank" }, VERTICAL.source),
      ").",
    ),
  ];
}

function others({ horizontal, area }) {
  const figure = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, ratio(value)));
  return element("dl", { class: "others" }, figure("Horizontal", horizontal), figure("Area", area));
}

function actions(entry, does) {
  const busy = entry.state !== "done"; // asked for again: the answer that is shown is about to change
  const save = (kind, label) =>
    element("button", { type: "button", class: "button small", id: `save-${kind}`, disabled: busy, onclick: () => does.save(kind) }, label);
  const label = entry.correction ? "Go on correcting" : entry.answer.cup ? "Correct the outlines" : "Outline by hand";
  return element(
    "section",
    { class: "card actions", "aria-label": "What to do with it" },
    element("button", { type: "button", class: "button primary block", id: "correct", disabled: busy, onclick: does.correct }, icon("pen"), label),
    element("h3", {}, icon("save"), "Download"),
    element(
      "div",
      { class: "row" },
      save("overlay", "Overlay"),
      save("mask", "Mask"),
      save("json", "Numbers"),
      save("pdf", "Report (PDF)"),
    ),
    entry.correction?.measured &&
      element(
        "div",
        { class: "corrected-files" },
        element("div", { class: "row" }, save("training", "Corrected mask, as training data")),
        element("p", { class: "fine" }, "The files above show what the network drew. Corrected ones come as a folder that the training reads."),
      ),
  );
}

function rim(entry) {
  const found = entry.correction?.measured ? entry.correction.measured.rim : entry.answer.rim;
  if (!found?.sectors?.length) return null;
  return element(
    "section",
    { class: "card", "aria-labelledby": "rim-title" },
    element("h3", { id: "rim-title" }, "Width of the rim ", element("small", {}, "in disc diameters")),
    rimChart(found.sectors, entry.eye),
    element("p", { class: "fine" }, "Marked: where the rim is thinnest.", entry.eye === "unknown" && " Tell which eye it is to get nasal and temporal sectors."),
  );
}

function details(entry) {
  const { version, image, disc, cup, quality, timings_ms: timings } = entry.answer;
  const total = Object.values(timings).reduce((sum, value) => sum + value, 0);
  const size = (structure) => (structure ? `${structure.box.width} × ${structure.box.height} pixels` : UNKNOWN);
  const line = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
  return element(
    "details",
    { class: "card details", id: "details" },
    element("summary", {}, "Details"),
    element(
      "dl",
      {},
      line("Photograph", `${image.width} × ${image.height}, ${image.format}`),
      line("Disc, width × height", size(disc)),
      line("Cup, width × height", size(cup)),
      line("Confidence, disc and cup", `${percent(disc?.confidence)} and ${percent(cup?.confidence)}`),
      line("Distance from training", `${quality.distance_from_training.toFixed(2)} (1 is typical)`),
      line("Sharpness", quality.sharpness === null ? UNKNOWN : `${quality.sharpness.toFixed(2)} (1 is typical)`),
      line("Computed in", `${Math.round(total)} ms, ${version.engine} ${version.precision}`),
      line("Version", `${version.name} ${version.version}`),
      line("Cups as drawn by", version.convention ?? "nobody in particular"),
      line("Digest", element("code", { class: "digest" }, version.sha256)),
    ),
  );
}
