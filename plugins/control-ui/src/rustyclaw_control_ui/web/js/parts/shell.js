// The frame around each page: navigation, theme, and how the connection is.

import { append, badge, fill, h, icon, iconButton } from "../dom.js";

export const PAGES = [
  ["", [["dashboard", "Dashboard"], ["chat", "Chat"], ["sessions", "Sessions"]]],
  ["Gateway", [["channels", "Channels"], ["plugins", "Plugins"], ["devices", "Devices"], ["config", "Config"]]],
  ["Watch", [["life", "Life of a message"], ["logs", "Logs"]]],
];
const THEMES = [["auto", "auto", "As the system"], ["light", "sun", "Light"], ["dark", "moon", "Dark"]];

export function buildShell(app) {
  const nav = document.getElementById("nav");
  const bar = document.getElementById("bar");
  for (const [group, pages] of PAGES) {
    if (group) nav.append(h("p.side-group", { id: `group-${group}` }, group));
    nav.append(h("ul", { "aria-labelledby": group ? `group-${group}` : undefined }, pages.map(([name, label]) => h("li", navLink(name, label)))));
  }
  nav.append(h("div.side-foot", connection(app), themeSwitch()));
  append(bar, [dot(app), iconButton("menu", "Menu", () => openDrawer(nav), { id: "menu", "aria-expanded": "false", "aria-controls": "nav" })]);
  nav.addEventListener("click", (event) => event.target.closest("a") && closeDrawer(nav));
  nav.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !nav.classList.contains("open")) return;
    closeDrawer(nav);
    document.getElementById("menu").focus();
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  const progress = document.getElementById("progress");
  let waiting;
  app.gateway.on("busy", (count) => {
    clearTimeout(waiting);
    if (count) waiting = setTimeout(() => (progress.hidden = false), 300);
    else progress.hidden = true;
  });
}

function navLink(name, label) {
  return h("a.nav-link", { href: `#/${name}`, data: { page: name } }, icon(name), h("span", label), h("span.count", { data: { count: name } }));
}

/** Mark the page that is shown. */
export function markPage(name) {
  for (const link of document.querySelectorAll(".nav-link")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Show a number beside a page's name; 0 shows none. */
export function markCount(page, count, what) {
  const place = document.querySelector(`[data-count="${page}"]`);
  fill(place, count > 0 && [badge(String(count), "accent"), h("span.hidden-text", ` ${what}`)]);
}

function openDrawer(nav) {
  nav.classList.add("open");
  document.getElementById("menu").setAttribute("aria-expanded", "true");
  nav.after(h("button.veil", { type: "button", "aria-label": "Close menu", tabIndex: -1, onclick: () => closeDrawer(nav) }));
  document.getElementById("main").inert = true;
  (nav.querySelector("[aria-current]") || nav.querySelector("a")).focus();
}

function closeDrawer(nav) {
  nav.classList.remove("open");
  document.getElementById("menu").setAttribute("aria-expanded", "false");
  document.querySelector(".veil")?.remove();
  document.getElementById("main").inert = false;
}

function themeSwitch() {
  const current = () => document.documentElement.dataset.theme || "auto";
  const buttons = THEMES.map(([name, picture, label]) => h("button", { type: "button", title: label, "aria-label": label, "aria-pressed": String(current() === name), onclick: () => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    try {
      localStorage.setItem("rustyclaw.theme", name);
    } catch {
      // It then holds for as long as the page is open.
    }
    buttons.forEach((b, n) => b.setAttribute("aria-pressed", String(THEMES[n][0] === name)));
  } }, icon(picture)));
  return h("div.segments.theme", { role: "group", "aria-label": "Theme" }, buttons);
}

const WORDS = {
  online: ["ok", "Connected"],
  connecting: ["busy", "Connecting"],
  restarting: ["warn", "Restarting"],
  waiting: ["warn", "Disconnected"],
  pairing: ["warn", "Waiting for approval"],
  refused: ["bad", "Not signed in"],
};

function connection(app) {
  const element = h("div.connection");
  const show = () => {
    const [kind, words] = WORDS[app.gateway.state];
    const signOut = app.gateway.online && iconButton("power", "Sign out", () => app.gateway.signOut());
    fill(element, h(`span.dot.${kind}`), h("span.grow.cut", { title: app.gateway.url }, words), signOut);
  };
  app.gateway.on("state", show);
  show();
  return element;
}

function dot(app) {
  const element = h("span.dot.busy", { role: "img" });
  app.gateway.on("state", (state) => {
    element.className = `dot ${WORDS[state][0]}`;
    element.setAttribute("aria-label", WORDS[state][1]);
  });
  return element;
}
