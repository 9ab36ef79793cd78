// What is installed: whether it works, and if not, why.

import { badge, button, busy, empty, failure, fill, h, icon, skeleton } from "../dom.js";
import { plural } from "../format.js";
import { attempt, confirm, toast } from "../parts/dialog.js";

const KINDS = { providers: "Providers", channels: "Channels", tools: "Tools", hooks: "Hooks", commands: "Commands", compactors: "Compactors" };
const STATES = {
  enabled: ["ok", "enabled", ""],
  available: ["", "not configured", ""],
  denied: ["", "denied", "plugins.deny names it: it is not imported."],
  new: ["note", "new, not allowed", "It was installed after the allow list was written, and is not imported until you allow it."],
  failed: ["bad", "broken", ""],
  conflict: ["bad", "conflict", ""],
};

export default function mount({ view, app, scope }) {
  const search = h("input.input", { type: "search", placeholder: "Filter", "aria-label": "Filter plugins", autocomplete: "off", oninput: () => show() });
  const body = h("div.stack.wide", skeleton(4));
  let rows = null;
  fill(view, h("header.page-head", h("div.grow", h("h1", "Plugins"), h("p", "Everything the gateway can do is one of these.")), h("div.search", icon("search"), search)), body);

  async function load() {
    try {
      rows = (await app.call("plugins.list", {}, { timeout: 30_000 })).plugins || [];
      if (!scope.over) show();
    } catch (error) {
      if (!scope.over) fill(body, failure(error, load));
    }
  }

  function show() {
    if (!rows) return;
    const words = search.value.trim().toLowerCase();
    const found = rows.filter((row) => [row.name, row.kind, row.dist, row.summary, row.state, row.reason].join(" ").toLowerCase().includes(words));
    const broken = found.filter((row) => ["failed", "conflict"].includes(row.state));
    if (!found.length) return fill(body, h("div.card", words ? empty("search", "Nothing found", "No plugin matches this.") : empty("plugins", "No plugin is installed", "Install one, such as rustyclaw-offline, and restart.")));
    const groups = Object.entries(KINDS).map(([kind, label]) => [label, found.filter((row) => row.kind === kind && !broken.includes(row))]);
    return fill(body,
      broken.length > 0 && group(`${plural(broken.length, "does", "do")} not work`, broken),
      groups.filter(([, list]) => list.length).map(([label, list]) => group(label, list)));
  }

  function group(label, list) {
    return h("section.stack", h("h2", label), h("div.cards.even", list.map(card)));
  }

  function card(row) {
    const [kind, word, meaning] = STATES[row.state] || ["", row.state, ""];
    const isBroken = kind === "bad";
    const act = (method, done) => (event) => busy(event.currentTarget, async () => {
      const denies = method === "plugins.deny";
      if (denies && !(await confirm({ title: `Deny ${row.name}?`, text: "It is not imported from the next start on. Its settings are kept.", yes: "Deny", danger: true }))) return;
      if (await attempt(() => app.call(method, { name: row.name }))) toast(`${done} Restart the gateway for it to take effect.`);
      load();
    });
    return h(`section.card${isBroken ? ".broken" : ""}`, { data: { plugin: `${row.kind}.${row.name}` } },
      h("div.card-head", h("h3", row.name), badge(word, kind)),
      h("p.small.muted", row.summary || "It says nothing about itself."),
      row.reason && h(isBroken ? "pre.plain.reason" : "p.small.muted.wrap", isBroken ? { tabindex: "0", "aria-label": "Reason" } : {}, row.reason),
      meaning && h("p.small.muted", meaning),
      h("div.row.foot", h("span.small.muted.grow.wrap", `${row.kind} · ${row.dist} ${row.version}`),
        row.state === "new" || row.state === "denied"
          ? app.gateway.has("plugins.allow") && button("Allow", act("plugins.allow", "Allowed."), { kind: "primary" })
          : app.gateway.has("plugins.deny") && button("Deny", act("plugins.deny", "Denied."), { kind: "ghost" })));
  }

  scope.reload(load);
  scope.on("config.changed", load);
}
