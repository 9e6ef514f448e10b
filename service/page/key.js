// The key of a service that asks for one: kept until this tab is closed, sent with every call, shown to nobody.

import { element } from "./elements.js";

const KEPT = "cupdisc-key"; // in the tab's own storage
const ASKED_FOR = ["key_missing", "key_invalid", "key_expired"]; // codes of problems that a key would mend

let asking = null; // several calls fail at once, and one question is enough

export function keyHeaders() {
  const key = sessionStorage.getItem(KEPT);
  return key ? { "X-API-Key": key } : {};
}

/** Whether it is worth trying again: a problem that a key mends, and somebody has given one that was not sent before. */
export async function mended(problem, sent) {
  if (!ASKED_FOR.includes(problem.code)) return false;
  const now = keyHeaders()["X-API-Key"];
  if (now && now !== sent["X-API-Key"]) return true; // given meanwhile
  asking ??= ask(problem.sentence).finally(() => (asking = null));
  return asking;
}

function ask(sentence) {
  const input = element("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const form = element(
    "form",
    { method: "dialog" },
    element("p", {}, sentence),
    element("label", { for: "key" }, "Key"),
    input,
    element("div", { class: "actions" }, element("button", { class: "button primary", type: "submit", value: "use" }, "Use this key"), " ", leave()),
  );
  const dialog = element("dialog", { class: "key", "aria-label": "Key of this service" }, form);
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      if (event.submitter?.value !== "leave") sessionStorage.setItem(KEPT, input.value.trim());
    });
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "use"); // it is empty after Escape
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function leave() {
  return element("button", { class: "button", type: "submit", value: "leave", formnovalidate: true }, "Not now");
}
