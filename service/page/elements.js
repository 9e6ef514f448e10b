// Builds elements of the page. Text is always text: nothing that a file or the server says is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** `attributes`: functions become listeners ("onclick"), true is an empty attribute, false and null leave it out. */
export function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

export function drawing(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

export function icon(name) {
  return drawing("svg", { class: "icon", "aria-hidden": "true" }, drawing("use", { href: `page/icons.svg#${name}` }));
}

export function byId(id) {
  return document.getElementById(id);
}

/** Read out by a screen reader, seen by nobody. */
export function announce(sentence) {
  byId("announcer").textContent = sentence;
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
