// Builds elements. Text is always a text node: nothing here ever parses markup.

/**
 * Return a new element.
 * @param {string} tag may carry classes: "div.card.wide"
 * @param {object} [props] on… are listeners, booleans are attributes that are there or
 *   not, `value`, `checked` and the like are set as properties
 * @param {...any} children nodes, texts, arrays of them; null and false are left out
 */
export function h(tag, props, ...children) {
  if (props instanceof Node || typeof props !== "object" || props === null || Array.isArray(props)) {
    if (props !== undefined) children.unshift(props);
    props = {};
  }
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) assign(element, key, value);
  append(element, children);
  return element;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected", "indeterminate", "htmlFor", "tabIndex"]);

function assign(element, key, value) {
  if (value === undefined || value === null) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "class") element.className += ` ${value}`;
  else if (key === "data") Object.assign(element.dataset, value);
  else if (key === "vars") for (const [n, v] of Object.entries(value)) element.style.setProperty(`--${n}`, v);
  else if (PROPERTIES.has(key)) element[key] = value;
  else if (value === true) element.setAttribute(key, "");
  else if (value !== false) element.setAttribute(key, String(value));
}

export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Put new children in the place of all there are. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

const SVG = "http://www.w3.org/2000/svg";

// Drawn for this page on a 24 by 24 grid, strokes only.
const ICONS = {
  dashboard: "M4 4h7v9H4zM13 4h7v5h-7zM13 12h7v8h-7zM4 16h7v4H4z",
  chat: "M4 5h16v11H11l-5 4v-4H4z M8 9h8M8 12h5",
  sessions: "M8 4h12v12H8z M16 16v4H4V8h4",
  channels: "M12 12m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0 M7.5 16.5a6.5 6.5 0 0 1 0-9M16.5 7.5a6.5 6.5 0 0 1 0 9M4.8 19.2a10.3 10.3 0 0 1 0-14.4M19.2 4.8a10.3 10.3 0 0 1 0 14.4",
  config: "M4 7h9M17 7h3M4 17h3M11 17h9M15 7m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M9 17m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  plugins: "M9 3v5M15 3v5M6 8h12v4a6 6 0 0 1-12 0zM12 18v3",
  devices: "M3 5h13v9H3zM7 18h6M9.5 14v4M17 9h4v11h-6v-4",
  logs: "M5 3h10l4 4v14H5zM15 3v4h4M8 11h8M8 14h8M8 17h5",
  life: "M3 12h4l2.5-7 4.5 14 2.5-7H21",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  send: "M5 12h13M12 5l7 7-7 7",
  stop: "M7 7h10v10H7z",
  clip: "M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.5 3.5 0 0 1 5 5l-8.5 8.5a2 2 0 0 1-3-3L14 7",
  plus: "M12 5v14M5 12h14",
  check: "M5 12.5l4.5 4.5L19 7.5",
  alert: "M12 4l9 16H3zM12 10v4M12 17v.5",
  info: "M12 12m-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0M12 11v5M12 8v.5",
  search: "M11 11m-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0M16 16l4 4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  refresh: "M19 8a8 8 0 1 0 1 6M20 4v5h-5",
  compact: "M4 4l6 6M10 5v5H5M20 20l-6-6M14 19v-5h5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  key: "M8 15m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M11 12l8-8M16 7l3 3",
  tool: "M14.5 6.5a4 4 0 0 1 5-1l-2.5 2.5 .5 2 2 .5L22 8a4 4 0 0 1-5.5 4.5L9 20l-3-3 7.5-7.5a4 4 0 0 1 1-3z",
  brain: "M12 5a3.5 3.5 0 0 0-6.5 1.5A3.5 3.5 0 0 0 4 12.5 3.5 3.5 0 0 0 7 18a3 3 0 0 0 5 1zM12 5a3.5 3.5 0 0 1 6.5 1.5A3.5 3.5 0 0 1 20 12.5 3.5 3.5 0 0 1 17 18a3 3 0 0 1-5 1zM12 5v14",
  chevron: "M9 6l6 6-6 6",
  down: "M6 9l6 6 6-6",
  sun: "M12 12m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1 1M17.4 17.4l1 1M18.4 5.6l-1 1M6.6 17.4l-1 1",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  auto: "M12 12m-8.5 0a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0-17 0M12 3.5v17M15 5v14M18 7v10",
  power: "M12 4v8M7 7a7 7 0 1 0 10 0",
  user: "M12 8m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4.5 20a7.5 7.5 0 0 1 15 0",
  shield: "M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6z",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  clock: "M12 12m-8.5 0a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0-17 0M12 7v5l3.5 2",
  more: "M6 12h.01M12 12h.01M18 12h.01",
};

/** Return a picture that says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] || ICONS.info);
  svg.append(path);
  return svg;
}

/** Return a button with a word, and perhaps a picture before it. */
export function button(label, onclick, { kind = "", picture = "", ...props } = {}) {
  return h(`button.btn${kind ? `.${kind}` : ""}`, { type: "button", onclick, ...props }, picture && icon(picture), h("span", label));
}

/** Return a button that is only a picture; its label is read aloud. */
export function iconButton(picture, label, onclick, props = {}) {
  return h("button.icon-btn", { type: "button", "aria-label": label, title: label, onclick, ...props }, icon(picture));
}

export function badge(text, kind = "") {
  return h(`span.badge${kind ? `.${kind}` : ""}`, text);
}

/** Return what stands where there is nothing yet: never a blank page. */
export function empty(picture, title, text, ...actions) {
  return h("div.empty", h("div.empty-art", icon(picture)), h("p.empty-title", title), text && h("p.muted", text), actions.length > 0 && h("div.row.center", actions));
}

/** Return what stands where something went wrong, with the way out. */
export function failure(error, retry) {
  return h("div.failure", { role: "alert" }, icon("alert"), h("div.grow", h("p.strong", "This could not be loaded"), h("p.muted.wrap", error.message || String(error))), retry && button("Try again", retry, { picture: "refresh" }));
}

export function skeleton(lines = 3) {
  return h("div.stack", { "aria-busy": "true" }, h("span.hidden-text", "Loading"), Array.from({ length: lines }, () => h("div.skeleton.block")));
}

/** Work on a click: the button is off until it is done, and tells what went wrong. */
export async function busy(control, work) {
  if (control.getAttribute("aria-busy") === "true") return undefined;
  control.setAttribute("aria-busy", "true");
  control.disabled = true;
  try {
    return await work();
  } finally {
    control.removeAttribute("aria-busy");
    control.disabled = false;
  }
}
