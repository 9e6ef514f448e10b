// Where the page's parts meet: the views, what the buttons do, and how files come in.

import { rendered, sample, versionNamed, versions } from "./api.js";
import { Correction, measureOutlines } from "./correction.js";
import { drawDisc } from "./drawing.js";
import { announce, byId, element } from "./elements.js";
import { csv, save, stem, trainingFolder } from "./files.js";
import { findings, ratiosOf } from "./findings.js";
import { pairs } from "./pairs.js";
import { Photographs } from "./photographs.js";
import { picture } from "./pictures.js";
import { Table } from "./table.js";
import { Viewer } from "./viewer.js";
import { explain, ratio } from "./words.js";

const photographs = new Photographs();
const viewer = new Viewer(byId("canvas"), byId("map"));
const thumbnails = new Map(); // id: canvas
const sorting = { column: null, down: false };
const table = new Table(byId("table"), { open, remove, thumbnail, sort });
const chosenPair = { right: null, left: null };
let view = "start"; // "start", "one", "all" or "pairs"
let whose = { names: [], own: null }; // whose cups the version can draw, and draws unasked
let current = null; // the photograph of the view "one"
let correction = null;

// ---- views

function go(where, focus = true) {
  if (where !== "one") stopCorrecting();
  view = where;
  render();
  if (where === "one") showCurrent();
  if (focus) byId({ one: "file", all: "all-title", pairs: "pairs-title", start: "choose" }[where]).focus({ preventScroll: true });
}

function open(entry) {
  if (entry !== current) stopCorrecting();
  current = entry;
  go("one");
  window.scrollTo(0, 0);
}

function render() {
  renderFrame();
  if (view === "one") renderOne();
  if (view === "all") renderAll();
  if (view === "pairs") renderPairs();
}

function renderFrame() {
  const { entries } = photographs;
  document.body.dataset.view = view;
  for (const id of ["start", "one", "all", "pairs"]) byId(id).hidden = id !== view;
  byId("add").hidden = view === "start";
  byId("views").hidden = entries.length < 2;
  byId("count").textContent = entries.length;
  for (const button of byId("views").children) {
    if (button.dataset.go === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

function renderOne() {
  const { entries } = photographs;
  const place = entries.indexOf(current);
  byId("file").textContent = current.name;
  byId("file").title = current.name;
  byId("previous").hidden = byId("next").hidden = entries.length < 2;
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === entries.length - 1;
  const busy = !settled(current);
  byId("working").hidden = !busy;
  if (busy) {
    const sending = current.state === "sending";
    byId("working-text").textContent = sending ? "Sending" : current.state === "reading" ? "Finding disc and cup" : "Waiting";
    if (sending) byId("working-bar").value = current.sent;
    else byId("working-bar").removeAttribute("value");
  }
  byId("zoom-disc").hidden = !viewer.hasDisc;
  byId("zoom").hidden = current.state === "failed";
  byId("layers").hidden = correction !== null || !current.answer;
  byId("original-toggle").hidden = !current.correction?.measured || !current.answer?.disc;
  byId("correcting").hidden = correction === null;
  if (correction) {
    byId("undo").disabled = !correction.canUndo;
    byId("redo").disabled = !correction.canRedo;
    document.querySelector(`[name=outline][value=${correction.active}]`).checked = true;
  }
  const does = {
    setEye: (eye) => setEye(current, eye),
    correct: startCorrecting,
    again: () => photographs.again(current),
    remove: () => remove(current),
    save: (kind) => saveOf(current, kind),
    setConvention: (name) => photographs.setConvention(name),
    whose: { ...whose, chosen: photographs.convention ?? whose.own },
  };
  replace(byId("findings"), findings(current, does, correction !== null));
}

function renderAll() {
  const { entries, unfinished } = photographs;
  const failed = entries.filter((entry) => entry.state === "failed").length;
  const refused = entries.filter((entry) => entry.answer && !entry.answer.gradable).length;
  const parts = [unfinished ? `${entries.length - unfinished} of ${entries.length} done` : `${entries.length} done`];
  if (refused) parts.push(`${refused} not gradable`);
  if (failed) parts.push(`${failed} failed`);
  byId("tally").textContent = parts.join(", ");
  byId("overall").hidden = !unfinished;
  byId("overall").value = 1 - unfinished / entries.length;
  byId("csv").disabled = unfinished === entries.length;
  byId("training").hidden = !entries.some((entry) => entry.correction?.measured);
  table.show(entries, sorting);
}

function renderPairs() {
  const does = { open, draw: largeDisc, choose: choosePair };
  replace(byId("pairs-content"), pairs(photographs.entries, chosenPair, does));
}

// new content for a part of the page; focus and opened details stay where they were
function replace(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : null;
  const opened = [...parent.querySelectorAll("details[open]")].map((node) => node.id);
  parent.replaceChildren(...children.flat(Infinity).filter(Boolean));
  for (const id of opened) byId(id)?.setAttribute("open", "");
  if (focused) byId(focused)?.focus({ preventScroll: true });
}

async function showCurrent() {
  const entry = current;
  byId("viewer-note").hidden = true;
  try {
    await viewer.show(entry);
    byId("zoom-disc").hidden = !viewer.hasDisc;
  } catch (problem) {
    if (entry !== current) return;
    byId("viewer-note").textContent = entry.state === "failed" ? "No picture" : `The picture cannot be shown. ${problem.sentence ?? ""}`;
    byId("viewer-note").hidden = false;
  }
}

// ---- photographs coming in and going

function take(files) {
  const pictures = [...files];
  if (!pictures.length) return;
  const first = photographs.entries.length === 0;
  const added = photographs.add(pictures);
  announce(added.length === 1 ? `${added[0].name} is on its way` : `${added.length} photographs are on their way`);
  if (first && added.length === 1) open(added[0]);
  else go("all");
}

function remove(entry) {
  const { entries } = photographs;
  const place = entries.indexOf(entry);
  if (entry === current) {
    stopCorrecting();
    viewer.show(null);
    current = null;
  }
  for (const eye of ["right", "left"]) if (chosenPair[eye] === entry) chosenPair[eye] = null;
  thumbnails.delete(entry.id);
  if (view === "one") view = "all"; // before the change is heard
  photographs.remove(entry);
  const left = photographs.entries;
  if (!left.length) go("start");
  else {
    current ??= left[Math.min(place, left.length - 1)];
    go("all", false);
  }
}

async function setEye(entry, eye) {
  await photographs.setEye(entry, eye);
  if (!entry.correction?.measured) return;
  try {
    entry.correction.measured = await measureOutlines(entry);
    photographs.touch(entry);
  } catch (problem) {
    complain(problem);
  }
}

photographs.addEventListener("change", ({ detail: entry }) => {
  current ??= photographs.entries[0] ?? null;
  const elsewhere = entry && ((view === "one" && entry !== current) || (view === "pairs" && !settled(entry)));
  if (elsewhere) renderFrame(); // what a person is at is left alone
  else if (view !== "start" && photographs.entries.length) render();
  if (!entry) return;
  if (entry === current && view === "one") showCurrent();
  if (entry.answer || entry.state === "failed") renewThumbnail(entry);
  if (entry.state !== entry.told) tell(entry);
  entry.told = entry.state;
});

function settled(entry) {
  return ["done", "failed"].includes(entry.state);
}

function tell(entry) {
  if (entry.state === "failed") announce(`${entry.name}: ${entry.problem.sentence}`);
  if (entry.state !== "done") return;
  const vertical = ratiosOf(entry)?.vertical;
  announce(`${entry.name}: ${vertical === undefined ? "not gradable" : `vertical ratio ${ratio(vertical)}`}`);
}

// ---- small pictures

function thumbnail(entry) {
  let canvas = thumbnails.get(entry.id);
  if (!canvas) {
    canvas = element("canvas", { class: "thumbnail", width: 112, height: 112, "aria-hidden": "true" });
    thumbnails.set(entry.id, canvas);
    renewThumbnail(entry);
  }
  return canvas;
}

async function renewThumbnail(entry) {
  const canvas = thumbnails.get(entry.id);
  if (!canvas || !entry.answer) return;
  try {
    drawDisc(canvas, await picture(entry), entry, { diameters: 1.6, width: 3 });
  } catch {
    // it stays dark; the photograph's own view says why
  }
}

function largeDisc(entry) {
  const canvas = element("canvas", { class: "pair-picture", width: 640, height: 640, role: "img", "aria-label": `Disc and cup of ${entry.name}` });
  if (entry.answer) {
    picture(entry).then((bitmap) => drawDisc(canvas, bitmap, entry, { diameters: 1.8, width: 4 }), () => {});
  }
  return canvas;
}

// ---- table and pairs

function sort(column) {
  sorting.down = sorting.column === column ? !sorting.down : false;
  sorting.column = column;
  renderAll();
}

function choosePair(eye, entry) {
  chosenPair[eye] = entry;
  if (entry && entry.eye === "unknown") setEye(entry, eye);
  renderPairs();
}

// ---- correcting

function startCorrecting() {
  correction = new Correction(current, viewer, afterCorrection);
  viewer.correction = correction;
  byId("canvas").setAttribute("aria-describedby", "correction-keys");
  document.querySelector("[name=drag][value=point]").checked = true;
  viewer.zoom("disc");
  render();
  byId("canvas").focus({ preventScroll: true });
  byId("viewer").scrollIntoView({ block: "nearest" });
  announce("Correcting. Comma and full stop choose a point, arrow keys move it.");
}

function stopCorrecting() {
  if (!correction) return;
  correction.close();
  correction = viewer.correction = null;
  byId("canvas").setAttribute("aria-describedby", "viewer-keys");
  if (current) renewThumbnail(current);
  viewer.draw();
}

function afterCorrection() {
  const { measured, pending } = current?.correction ?? {};
  if (view === "one" && current) renderOne();
  viewer.draw();
  if (measured?.cup_to_disc_ratio && !pending) announce(`Corrected vertical ratio ${ratio(measured.cup_to_disc_ratio.vertical)}`);
}

// ---- saving

async function saveOf(entry, kind) {
  const name = stem(entry.name);
  const button = byId(`save-${kind}`);
  const asked = photographs.asked(entry);
  button.setAttribute("aria-busy", "true");
  try {
    if (kind === "overlay") save(await rendered(entry.file, asked, "image/png", "overlay"), `${name}.overlay.png`);
    if (kind === "mask") save(await rendered(entry.file, asked, "image/png", "mask"), `${name}.mask.png`);
    if (kind === "pdf") save(await rendered(entry.file, asked, "application/pdf", "pdf"), `${name}.report.pdf`);
    if (kind === "json") save(new Blob([JSON.stringify(entry.answer, null, 2)], { type: "application/json" }), `${name}.json`);
    if (kind === "training") save(await trainingFolder([entry]), `${name}.corrected.zip`);
  } catch (problem) {
    complain(problem);
  }
  byId(`save-${kind}`)?.removeAttribute("aria-busy");
}

async function learnWhose(version) {
  const { conventions: names, convention: own } = await versionNamed(version);
  whose = { names, own };
  if (view === "one") renderOne();
}

// another version answers now, which did not learn what was chosen
photographs.addEventListener("unlearnt", async ({ detail: problem }) => {
  complain(problem);
  try {
    const { default: served } = await versions();
    if (served) await learnWhose(served);
  } catch {
    // the next choice tells
  }
});

function complain(problem) {
  const { sentence, advice } = problem.sentence ? problem : explain("internal_error", 0, "");
  byId("banner").textContent = `${sentence} ${advice}`;
  byId("banner").hidden = false;
  setTimeout(() => (byId("banner").hidden = true), 12_000);
}

// ---- listening

byId("choose").onclick = byId("add").onclick = () => byId("files").click();
byId("camera").onclick = () => byId("camera-file").click();
for (const id of ["files", "camera-file"]) {
  byId(id).onchange = (event) => {
    take(event.target.files);
    event.target.value = ""; // the same file can be chosen again
  };
}
byId("sample").onclick = async () => {
  try {
    take([await sample()]);
  } catch (problem) {
    complain(problem);
  }
};

byId("views").onclick = (event) => {
  const where = event.target.closest("button")?.dataset.go;
  if (where === "one") open(current ?? photographs.entries[0]);
  else if (where) go(where);
};
for (const [id, by] of [["previous", -1], ["next", 1]]) {
  byId(id).onclick = () => open(photographs.entries[photographs.entries.indexOf(current) + by]);
}
byId("csv").onclick = () => save(csv(photographs.entries), "cupdisc.csv");
byId("training").onclick = async () => {
  try {
    const corrected = photographs.entries.filter((entry) => entry.correction?.measured);
    save(await trainingFolder(corrected), "cupdisc-corrected.zip");
  } catch (problem) {
    complain(problem);
  }
};
byId("clear").onclick = () => [...photographs.entries].forEach(remove);

document.querySelectorAll("[data-zoom]").forEach((button) => (button.onclick = () => viewer.zoom(button.dataset.zoom)));
for (const [id, layer] of [["show-disc", "disc"], ["show-cup", "cup"], ["show-original", "original"]]) {
  byId(id).onchange = (event) => {
    viewer.layers[layer] = event.target.checked;
    viewer.draw();
  };
}
byId("opacity").oninput = (event) => {
  viewer.layers.opacity = event.target.value / 100;
  viewer.draw();
};
byId("red-free").onchange = (event) => {
  viewer.layers.redFree = event.target.checked;
  showCurrent();
};

document.querySelectorAll("[name=outline]").forEach((input) => (input.onchange = () => correction.choose(input.value)));
document.querySelectorAll("[name=drag]").forEach((input) => {
  input.onchange = () => {
    correction.mode = input.value;
  };
});
byId("undo").onclick = () => correction.undo();
byId("redo").onclick = () => correction.redo();
byId("reset").onclick = () => correction.startOver();
byId("done").onclick = () => {
  stopCorrecting();
  render();
  byId("correct").focus({ preventScroll: true });
};

document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take(event.clipboardData.files);
});
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  byId("drop-over").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop-over").hidden = true;
});
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  byId("drop-over").hidden = true;
  take(event.dataTransfer.files);
});

// ---- colours and version

const THEMES = { auto: "as the system", light: "light", dark: "dark" };
function showTheme() {
  const { theme } = document.documentElement.dataset;
  byId("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
  byId("theme-icon").setAttribute("href", `page/icons.svg#${theme}`);
}
byId("theme").onclick = () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("cupdisc-theme", next);
  } catch {
    // the choice lasts for this visit only
  }
  showTheme();
};
showTheme();

try {
  const { default: served, versions: known } = await versions();
  const version = known.find((one) => one.version === served);
  if (version) {
    byId("version").replaceChildren(`${version.name} ${version.version} `, element("code", { title: version.sha256 }, version.sha256.slice(0, 12)));
    await learnWhose(version.version);
  } else {
    complain(explain("no_version_live", 503, ""));
  }
} catch (problem) {
  complain(problem);
}
