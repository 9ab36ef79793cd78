// Chat platforms: how they are, and who asks to be let in.

import { badge, button, busy, empty, failure, fill, h, skeleton } from "../dom.js";
import { ago, moment } from "../format.js";
import { attempt, confirm } from "../parts/dialog.js";
import { soon } from "./dashboard.js";

export default function mount({ view, app, scope }) {
  const people = h("section.stack", { "aria-label": "Pairing requests" });
  const body = h("div.cards", skeleton(2));
  fill(view, h("header.page-head", h("div.grow", h("h1", "Channels"), h("p", "Where people reach the assistant, and who may.")), button("Check now", (event) => busy(event.currentTarget, () => load(true)), { picture: "refresh" })), people, body);

  async function load(probe = false) {
    pairing();
    try {
      const answer = await app.call("channels.status", { probe: probe === true }, { timeout: 20_000 });
      if (!scope.over) show(answer);
    } catch (error) {
      if (!scope.over) fill(body, failure(error, load));
    }
  }

  function show(status) {
    const order = status.channelOrder || [];
    if (!order.length) return fill(body, h("div.card.whole", empty("channels", "No channel is configured", "A channel is a chat platform: install its plugin, and give it a section in the configuration.", button("Open the config", () => app.go("config"), { kind: "primary" }))));
    return fill(body, order.map((id) => card(id, status)));
  }

  function card(id, status) {
    const accounts = status.channelAccounts?.[id] || [];
    const account = accounts[0] || {};
    const channel = { ...account, ...(status.channels?.[id] || {}) };
    const label = status.channelLabels?.[id] || id;
    const [kind, word] = stateOf(channel);
    const facts = [
      ["Last message in", account.lastInboundAt], ["Last message out", account.lastOutboundAt], ["Connected since", account.lastStartAt ?? account.lastConnectedAt], ["Stopped", account.lastStopAt],
    ].filter(([, at]) => at).map(([name, at]) => [name, h("time", { title: moment(at) }, ago(at))]);
    if (account.dmPolicy) facts.push(["Private messages", account.dmPolicy]);
    const running = channel.running || channel.connected;
    const act = (method) => (event) => busy(event.currentTarget, async () => {
      const stops = method === "channels.logout";
      if (stops && !(await confirm({ title: `Log ${label} out?`, text: "It stops now, and stays off after a restart.", yes: "Log out", danger: true }))) return;
      await attempt(() => app.call(method, { channel: id }, { timeout: 30_000 }), stops ? `${label} is logged out.` : `${label} is starting.`);
      load();
    });
    return h("section.card", { data: { channel: id } },
      h("div.card-head", h("h2", label), badge(word, kind)),
      channel.lastError && h("p.small.bad-text.wrap", channel.lastError),
      facts.length ? h("dl.facts", facts.map(([name, value]) => [h("dt", name), h("dd", value)])) : h("p.small.muted", "Nothing has been sent or received yet."),
      h("div.row.wrap",
        !running && app.gateway.has("channels.login") && button("Log in", act("channels.login"), { kind: "primary" }),
        running && app.gateway.has("channels.logout") && button("Log out", act("channels.logout"), { kind: "danger" }),
        h("a.btn.ghost", { href: `#/config/channels` }, "Settings")));
  }

  async function pairing() {
    if (!app.gateway.has("pairing.list")) return;
    try {
      const answer = await app.call("pairing.list");
      if (!scope.over) showPairing(answer.requests || answer.pending || []);
    } catch (error) {
      if (!scope.over) fill(people, failure(error, pairing));
    }
  }

  function showPairing(requests) {
    const act = (method, request, done) => (event) => busy(event.currentTarget, async () => {
      await attempt(() => app.call(method, { channel: request.channel, code: request.code }), done);
      pairing();
    });
    fill(people, requests.length > 0 && h("div.card", h("div.card-head", h("h2", "Asking to be let in"), badge(String(requests.length), "accent")),
      h("ul.list", requests.map((request) => h("li.wrap-row", { data: { code: request.code } }, h("div.grow", h("p.strong.wrap", request.name || request.sender), h("p.small.muted.wrap", [request.channel, request.name && request.sender, `code ${request.code}`].filter(Boolean).join(" · "))),
        h("div.row", button("Let in", act("pairing.approve", request, "Let in."), { kind: "primary", picture: "check" }), button("Refuse", act("pairing.reject", request, "Refused."), { kind: "danger" })))))));
  }

  scope.reload(load);
  scope.on("pairing", soon(pairing, scope));
  scope.every(15_000, load);
}

function stateOf(channel) {
  if (channel.connected) return ["ok", "connected"];
  if (channel.lastError) return ["bad", "failed"];
  if (channel.running) return ["warn", "connecting"];
  return channel.enabled === false ? ["", "off"] : ["", "stopped"];
}
