// Calls of the API. Every failure comes out as a Problem, which knows its sentence.

import { keyHeaders, mended } from "./key.js";
import { explain } from "./words.js";

const ATTEMPTS = 3; // for a busy service

export class Problem extends Error {
  constructor(code, status = 0, detail = "") {
    super(detail || code);
    Object.assign(this, { code, status, detail }, explain(code, status, detail));
  }
}

/** The JSON answer for a photograph; `choices` as in `asking`, `onSent` hears which share of it has been sent. */
export async function segment(file, choices, onSent, signal) {
  const query = asking({ masks: "polygon" }, choices);
  for (let attempt = 1; ; attempt += 1) {
    const key = keyHeaders();
    try {
      return JSON.parse(await upload(`v1/segmentations?${query}`, file, onSent, signal, key));
    } catch (error) {
      if (await mended(error, key)) continue;
      if (error.code !== "overloaded" || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(error.retryAfter || attempt, 10)));
    }
  }
}

/** A picture or report of a photograph made by the server, as a Blob. */
export async function rendered(file, choices, accept, render) {
  const query = asking({ render }, choices);
  return (await send(`v1/segmentations?${query}`, bytes(file, accept))).blob();
}

/** The photograph as a PNG, for what the browser cannot decode. */
export async function decoded(file) {
  return (await send("page/picture", bytes(file, "image/png"))).blob();
}

/** The numbers of outlines: { width, height, disc: [ring], cup: [ring] }. */
export async function measure(outlines, eye, signal) {
  const options = { method: "POST", body: JSON.stringify(outlines), headers: { "Content-Type": "application/json" }, signal };
  return (await send(`v1/measurements?${new URLSearchParams({ laterality: eye })}`, options)).json();
}

export async function versions() {
  return (await send("v1/versions", {})).json();
}

/** Everything about one version; `conventions` are the names of those whose cups it can draw. */
export async function versionNamed(version) {
  return (await send(`v1/versions/${encodeURIComponent(version)}`, {})).json();
}

export async function sample() {
  const blob = await (await send("sample.jpg", {})).blob();
  return new File([blob], "normal_left_eye.jpg", { type: "image/jpeg" });
}

// { eye, convention }: which eye it is, and whose cups to draw, null for the version's own
function asking(what, { eye, convention }) {
  return new URLSearchParams({ ...what, laterality: eye, ...(convention && { convention }) });
}

// as bytes of no declared kind: the server looks for itself, and the file's name stays here
function bytes(file, accept) {
  return { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream", Accept: accept } };
}

async function send(address, options) {
  const key = keyHeaders();
  let response;
  try {
    response = await fetch(address, { ...options, headers: { ...options.headers, ...key } });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem("unreachable");
  }
  if (response.ok) return response;
  const problem = problemIn(response.status, await response.text());
  if (await mended(problem, key)) return send(address, options);
  throw problem;
}

function problemIn(status, text) {
  try {
    const { code, detail } = JSON.parse(text);
    return new Problem(code ?? `status_${status}`, status, detail);
  } catch {
    return new Problem(`status_${status}`, status, `status ${status}`);
  }
}

// fetch cannot tell how much of a body has been sent
function upload(address, file, onSent, signal, key) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(key)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.upload.onload = () => onSent(1);
    request.onload = () => {
      if (request.status === 200) return resolve(request.responseText);
      const problem = problemIn(request.status, request.responseText);
      problem.retryAfter = Number(request.getResponseHeader("Retry-After"));
      return reject(problem);
    };
    request.onerror = () => reject(new Problem("unreachable"));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
