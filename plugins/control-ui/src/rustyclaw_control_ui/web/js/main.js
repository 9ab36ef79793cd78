// Starts the page: a connection, an address that names a page, and the frame.

import { credentials, tokenFromLink } from "./credentials.js";
import { failure, fill, h, skeleton, button } from "./dom.js";
import { plural } from "./format.js";
import { Gateway } from "./gateway.js";
import { Approvals } from "./parts/approvals.js";
import { toast } from "./parts/dialog.js";
import { buildShell, markPage, PAGES } from "./parts/shell.js";
import { offerToken, welcome } from "./parts/welcome.js";

const base = new URL("../../../", import.meta.url);
const main = document.getElementById("main");
const LABELS = new Map(PAGES.flatMap(([, pages]) => pages));

/** What pages are handed. */
const app = {
  gateway: new Gateway(base.href.replace(/^http/, "ws")),
  call: (method, params, options) => app.gateway.request(method, params, options),
  go: (path) => (location.hash = `#/${path}`),

  /** The full form of a session key, which events carry. */
  canonical(key) {
    const known = app.gateway.hello?.snapshot?.sessionDefaults || {};
    const text = key.trim().toLowerCase();
    if (text === "main" || text === known.mainKey) return known.mainSessionKey || "agent:main:main";
    if (/^(agent:|global$|unknown$)/.test(text)) return text;
    return `agent:${known.defaultAgentId || "main"}:${text}`;
  },
};

/** What a page holds on to; all of it ends when another page is shown. */
class Scope {
  constructor() {
    this.signal = new AbortController();
    this._ends = [];
  }

  get over() {
    return this.signal.signal.aborted;
  }

  add(end) {
    this._ends.push(end);
  }

  on(event, listener) {
    this.add(app.gateway.on(event, listener));
  }

  /** Do something now, and whenever what is shown may have become old. */
  reload(work) {
    const run = () => app.gateway.online && !this.over && work();
    this.on("state", (state) => state === "online" && run());
    this.on("gap", run);
    run();
  }

  every(ms, work) {
    const timer = setInterval(() => !document.hidden && app.gateway.online && work(), ms);
    this.add(() => clearInterval(timer));
  }

  end() {
    this.signal.abort();
    this._ends.forEach((end) => end());
  }
}

let scope = null;
let shown = null;
let wasOnline = false;

function place() {
  const [page, ...rest] = location.hash.replace(/^#\//, "").split("/");
  return [LABELS.has(page) ? page : "dashboard", decode(rest.join("/"))];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function show() {
  const [name, argument] = place();
  const isFirst = shown === null;
  if (shown === location.hash && scope) return;
  shown = location.hash;
  scope?.end();
  const mine = (scope = new Scope());
  markPage(name);
  document.title = `${LABELS.get(name)} · rustyclaw`;
  const view = h(`div.page.page-${name}`, h("h1.hidden-text", LABELS.get(name)), skeleton());
  fill(main, notices, view);
  main.scrollTop = 0;
  try {
    const { default: mount } = await import(`./pages/${name}.js`);
    if (mine.over) return;
    fill(view);
    mount({ view, app, scope: mine, argument });
    showNotices();
  } catch (error) {
    console.error(error);
    if (!mine.over) fill(view, failure(error, () => location.reload()));
    return;
  }
  if (!isFirst) focusHeading(view);
}

function focusHeading(view) {
  const heading = view.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

// --- How the connection is, above each page -----------------------------------------

const notices = h("div.notices", { role: "status" });

function showNotices() {
  const { gateway, approvals } = app;
  const lines = [];
  if (wasOnline && gateway.state === "restarting") lines.push(h("div.notice.note", "The gateway restarts. This page goes on when it is back."));
  else if (wasOnline && ["waiting", "connecting"].includes(gateway.state)) lines.push(h("div.notice", h("span.grow", "The connection was lost. Trying to get it back; what you see may be old."), button("Now", () => gateway.retry(), { kind: "ghost" })));
  const elsewhere = approvals.pending.size - (scope?.session ? approvals.in(scope.session).length : 0);
  if (elsewhere) lines.push(h("div.notice.note", h("span.grow", `${plural(elsewhere, "action waits", "actions wait")} for your approval.`), button("Review", () => approvals.review(), { kind: "primary", picture: "shield" })));
  fill(notices, lines);
}

function follow(state) {
  if (state === "online") {
    wasOnline = true;
    if (!scope) show();
  } else if (state === "refused" || state === "pairing") {
    wasOnline = false;
  }
  if (!wasOnline) {
    scope?.end();
    scope = null;
    shown = null;
    const view = main.querySelector(".page-welcome") || h("div.page.page-welcome");
    fill(main, view);
    welcome(view, app);
  }
  showNotices();
}

// --- Begin --------------------------------------------------------------------------

app.approvals = new Approvals(app);
buildShell(app);
app.approvals.onChange(showNotices);
app.gateway.on("state", follow);
app.gateway.on("gap", () => toast("Some news was missed; reloaded."));
addEventListener("hashchange", () => {
  const token = tokenFromLink();
  if (token) offerToken(token, app);
  else if (app.gateway.online || wasOnline) show();
});
markPage(place()[0]);
const token = tokenFromLink();
if (token && token !== credentials.shared) offerToken(token, app);
else app.gateway.connect();
