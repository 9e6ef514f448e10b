// The photographs of this visit and their way through the service. Kept in memory, gone when the page is closed.

import { Problem, segment } from "./api.js";
import { forget } from "./pictures.js";
import { eyeInName } from "./words.js";

const AT_ONCE = 2; // requests under way

/**
 * One photograph: { id, file, name, eye, eyeFromName, state, sent, answer, problem, correction }.
 * `state`: "waiting", "sending", "reading", "done" or "failed"; `correction` is null or what correction.js made.
 */
export class Photographs extends EventTarget {
  entries = [];
  convention = null; // whose cups are asked for; null for the version's own
  #running = 0;
  #lastId = 0;

  add(files) {
    const added = [...files].map((file) => {
      const eye = eyeInName(file.name);
      return {
        id: ++this.#lastId,
        file,
        name: file.name || "pasted photograph",
        eye,
        eyeFromName: eye !== "unknown",
        state: "waiting",
        sent: 0,
        answer: null,
        problem: null,
        correction: null,
        abort: new AbortController(),
      };
    });
    this.entries.push(...added);
    this.#changed(null);
    this.#startNext();
    return added;
  }

  remove(entry) {
    entry.abort.abort();
    this.entries = this.entries.filter((other) => other !== entry);
    forget(entry);
    this.#changed(null);
  }

  again(entry) {
    Object.assign(entry, { state: "waiting", problem: null, sent: 0 });
    this.#changed(entry);
    this.#startNext();
  }

  /** Another eye has other sectors of the rim: the service is asked anew, the old answer stays until then. */
  async setEye(entry, eye) {
    Object.assign(entry, { eye, eyeFromName: false });
    this.#changed(entry);
    if (!entry.answer) return;
    const asked = this.asked(entry);
    try {
      const answer = await segment(entry.file, asked, () => {}, entry.abort.signal);
      if (entry.eye === eye && this.convention === asked.convention) entry.answer = answer;
    } catch (error) {
      if (error instanceof Problem) entry.problem = error;
    }
    this.#changed(entry);
  }

  /** Draw all photographs by another convention; the old answers stay until the new ones are there. */
  setConvention(convention) {
    this.convention = convention;
    for (const entry of this.entries.filter((one) => one.answer)) {
      if (entry.state === "done") Object.assign(entry, { state: "waiting", problem: null, sent: 0 });
    }
    this.#changed(null);
    this.#startNext();
  }

  /** What a request says of a photograph now. */
  asked(entry) {
    return { eye: entry.eye, convention: this.convention };
  }

  touch(entry) {
    this.#changed(entry);
  }

  get unfinished() {
    return this.entries.filter((entry) => !["done", "failed"].includes(entry.state)).length;
  }

  #startNext() {
    while (this.#running < AT_ONCE) {
      const entry = this.entries.find((candidate) => candidate.state === "waiting");
      if (!entry) return;
      this.#run(entry);
    }
  }

  async #run(entry) {
    this.#running += 1;
    entry.state = "sending";
    this.#changed(entry);
    const asked = this.asked(entry);
    const onSent = (share) => {
      entry.sent = share;
      if (share === 1) entry.state = "reading";
      this.#changed(entry);
    };
    try {
      entry.answer = await segment(entry.file, asked, onSent, entry.abort.signal);
      entry.state = "done";
    } catch (error) {
      if (error.code === "convention_not_found" && this.convention !== null) {
        this.convention = null;
        entry.state = "waiting";
        this.dispatchEvent(new CustomEvent("unlearnt", { detail: error }));
      } else if (error.name !== "AbortError") {
        entry.problem = error instanceof Problem ? error : new Problem("internal_error", 0, String(error));
        entry.state = "failed";
      }
    }
    this.#running -= 1;
    this.#changed(entry);
    // what was told while the photograph was away
    if (entry.state === "done" && this.convention !== asked.convention) this.again(entry);
    else if (entry.answer && entry.eye !== asked.eye) this.setEye(entry, entry.eye);
    this.#startNext();
  }

  #changed(entry) {
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
  }
}
