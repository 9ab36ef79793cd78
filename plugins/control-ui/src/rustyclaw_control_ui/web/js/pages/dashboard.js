// How things stand, at a glance.

import { badge, button, empty, failure, fill, h, icon, skeleton } from "../dom.js";
import { ago, duration, gist, number, plural, sessionName, short } from "../format.js";

export default function mount({ view, app, scope }) {
  const { gateway } = app;
  const facts = { runs: [], sessions: [], count: 0, models: [], channels: null, presence: [], plugins: [] };
  let problem = null;
  const body = h("div.stack.wide", skeleton(3));
  fill(view,
    h("header.page-head", h("div.grow", h("h1", "Dashboard"), h("p", place(gateway))), button("New message", () => app.go("chat"), { kind: "primary", picture: "chat" })),
    body);

  async function load() {
    const ask = (method, params) => (gateway.has(method) ? app.call(method, params) : Promise.resolve(null));
    const results = await Promise.allSettled([
      ask("agent.status", {}), ask("sessions.list", { limit: 6, includeDerivedTitles: true, includeLastMessage: true }), ask("models.list", {}),
      ask("channels.status", { probe: false }), ask("system-presence", {}), ask("plugins.list", {}), ask("health", { probe: true }),
    ]);
    if (scope.over) return;
    const [runs, sessions, models, channels, presence, plugins, health] = results.map((r) => (r.status === "fulfilled" ? r.value : null));
    problem = results.every((r) => r.status === "rejected") ? results[0].reason : null;
    facts.runs = runs?.activeAgents || [];
    facts.sessions = sessions?.sessions || [];
    facts.count = Math.max(health?.sessions?.count || 0, facts.sessions.length);
    facts.models = models?.models || [];
    facts.channels = channels;
    facts.presence = presence || [];
    facts.plugins = plugins?.plugins || [];
    show();
  }

  function show() {
    if (problem) return fill(body, failure(problem, load));
    const broken = facts.plugins.filter((p) => ["failed", "conflict"].includes(p.state));
    const channels = facts.channels?.channelOrder || [];
    const connected = channels.filter((id) => facts.channels.channels?.[id]?.connected).length;
    return fill(body,
      broken.length > 0 && h("a.alert-line", { href: "#/plugins" }, icon("alert"), h("span.grow", `${plural(broken.length, "plugin is", "plugins are")} broken: ${broken.map((p) => p.name).join(", ")}`), icon("chevron")),
      h("section.tiles", { "aria-label": "Figures" },
        tile("Uptime", "clock", h("span", { data: { uptime: "" } }, uptime(gateway)), `version ${gateway.hello?.server?.version || "unknown"}`),
        tile("Runs", "life", number(facts.runs.length), facts.runs.length ? "in progress" : "nothing is running"),
        tile("Sessions", "sessions", number(facts.count), "conversations"),
        tile("Channels", "channels", channels.length ? `${connected} / ${channels.length}` : "0", channels.length ? "connected" : "none configured"),
        tile("Models", "brain", number(facts.models.length), providers(facts.models)),
        tile("Clients", "devices", number(facts.presence.filter((p) => p.mode !== "gateway" && p.reason !== "disconnect").length), "connected")),
      h("div.cards.even",
        card("Recent conversations", "#/sessions", facts.sessions.length
          ? h("ul.list", facts.sessions.slice(0, 5).map((row) => conversation(row)))
          : empty("chat", "No conversation yet", "Say hello: the assistant is ready.", button("Open the chat", () => app.go("chat"), { kind: "primary" }))),
        card("Running now", "#/life", facts.runs.length
          ? h("ul.list", facts.runs.map((run) => h("li", h("span.dot.busy"), h("div.grow", h("p.cut", sessionName({ key: run.sessionKey })), h("p.small.muted", [run.channel, `since ${ago(run.startedAt)}`].filter(Boolean).join(" · "))), button("Stop", () => app.call("agent.abort", { runId: run.runId }).then(load), { kind: "danger" }))))
          : h("p.muted", "Nothing is running. What the assistant does shows up here, and step by step under Life of a message.")),
        card("Channels", "#/channels", channels.length
          ? h("ul.list", channels.map((id) => channel(id, facts.channels)))
          : h("p.muted", "No chat platform is configured. The chat on this page works without one.")),
        card("Models", "#/config", facts.models.length
          ? h("ul.list", facts.models.slice(0, 6).map((model) => h("li", h("div.grow", h("p.cut.strong", model.name || model.id), h("p.small.muted.cut", model.provider)), model.contextWindow && badge(`${number(Math.round(model.contextWindow / 1000))}k`))))
          : h("p.muted", "No provider has told of a model.")),
        card("Who is connected", "#/devices", h("ul.list", facts.presence.slice(0, 8).map((row) => presence(row))))));
  }

  scope.reload(load);
  for (const event of ["sessions.changed", "presence", "pairing"]) scope.on(event, soon(load, scope));
  scope.on("agent", ({ stream, data }) => stream === "lifecycle" && data.phase && soonAfter());
  const soonAfter = soon(load, scope);
  scope.every(30_000, load);
  scope.every(1000, () => view.querySelectorAll("[data-uptime]").forEach((e) => (e.textContent = uptime(gateway))));
}

/** Several events in a row are one reason to look again. */
export function soon(work, scope, ms = 250) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => !scope.over && work(), ms);
  };
}

const place = (gateway) => `${gateway.hello?.server?.host || "gateway"} · ${new URL(gateway.url).host}`;
const uptime = (gateway) => duration((gateway.hello?.snapshot?.uptimeMs || 0) + Date.now() - gateway.connectedAt);
const providers = (models) => short([...new Set(models.map((m) => m.provider))].join(", "), 28) || "none";

function tile(label, picture, value, note) {
  return h("div.tile", h("p.tile-label", icon(picture), label), h("p.tile-value", value), h("p.tile-note", note));
}

function card(title, link, content) {
  return h("section.card", h("div.card-head", h("h2", title), h("a.btn.ghost", { href: link, "aria-label": `${title}: more` }, icon("chevron"))), content);
}

function conversation(row) {
  return h("li", h("a.grow.plain-link", { href: `#/chat/${encodeURIComponent(row.key)}` },
    h("p.cut.strong", sessionName(row)), h("p.small.muted.cut", gist(row.lastMessagePreview) || row.channel || row.key)),
  h("span.small.muted", ago(row.updatedAt)));
}

function channel(id, status) {
  const state = status.channels?.[id] || {};
  const [kind, word] = state.connected ? ["ok", "connected"] : state.lastError ? ["bad", "failed"] : state.running ? ["warn", "connecting"] : ["", "stopped"];
  return h("li", h(`span.dot${kind && `.${kind}`}`), h("div.grow", h("p.strong", status.channelLabels?.[id] || id), state.lastError && h("p.small.bad-text.cut", state.lastError)), h("span.small.muted", word));
}

function presence(row) {
  const gone = row.reason === "disconnect";
  return h("li", h(`span.dot${gone ? "" : ".ok"}`), h("div.grow", h("p.cut.strong", row.host || row.deviceId || "client"), h("p.small.muted.cut", [row.mode, row.platform, row.version].filter(Boolean).join(" · "))), h("span.small.muted", gone ? ago(row.ts) : "now"));
}
