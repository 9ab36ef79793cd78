// Who holds a key to the gateway: pair, revoke, rotate.

import { badge, button, busy, empty, failure, fill, h, skeleton } from "../dom.js";
import { ago, moment, short } from "../format.js";
import { credentials } from "../credentials.js";
import { identity } from "../identity.js";
import { codeBlock } from "../markdown.js";
import { attempt, confirm, dialog } from "../parts/dialog.js";
import { soon } from "./dashboard.js";

export default function mount({ view, app, scope }) {
  const waiting = h("div.stack");
  const body = h("div.cards", skeleton(2));
  const allowed = h("div.stack");
  let own = "";
  fill(view, h("header.page-head", h("div.grow", h("h1", "Devices"), h("p", "Browsers, apps and command lines that may connect, each with a token of its own.")),
    app.gateway.has("auth.rotate") && button("New shared token", (event) => busy(event.currentTarget, rotateShared), { picture: "key" })), waiting, body, allowed);

  async function load() {
    try {
      own ||= (await identity()).id;
      const answer = await app.call("device.pair.list");
      if (!scope.over) show(answer);
      if (app.gateway.has("approvals.allowed")) showAllowed((await app.call("approvals.allowed")).allowed || []);
    } catch (error) {
      if (!scope.over) fill(body, failure(error, load));
    }
  }

  function show({ pending = [], paired = [] }) {
    fill(waiting, pending.length > 0 && h("section.card", h("div.card-head", h("h2", "Waiting for approval"), badge(String(pending.length), "accent")),
      h("ul.list", pending.map((row) => h("li.wrap-row", { data: { request: row.requestId } }, h("div.grow", h("p.strong.cut", nameOf(row)), h("p.small.muted.wrap", [row.platform, row.remoteIp, row.role, row.isRepair && "asks for more than it has", ago(row.ts)].filter(Boolean).join(" · ")), h("p.small.muted.wrap", (row.scopes || []).join(", "))),
        h("div.row", button("Approve", act(() => app.call("device.pair.approve", { requestId: row.requestId }), "Approved."), { kind: "primary", picture: "check" }), button("Reject", act(() => app.call("device.pair.reject", { requestId: row.requestId }), "Rejected."), { kind: "danger" })))))));
    fill(body, paired.length ? paired.sort((a, b) => (b.deviceId === own) - (a.deviceId === own)).map(card) : h("div.card.whole", empty("devices", "No device is paired", "What connects with the shared token from this machine is paired by itself; others ask.")));
  }

  /** What the assistant may do without asking, because somebody said "always". */
  function showAllowed(rows) {
    if (scope.over) return;
    fill(allowed, rows.length > 0 && h("section.card", h("div.card-head", h("h2", "Allowed for always")), h("p.small.muted", "The assistant does these without asking, because somebody said “always”."),
      h("ul.list", rows.map((row) => h("li.wrap-row", h("div.grow", h("code.small.wrap", row.key), h("p.small.muted", `since ${ago(row.since)}`)), button("Ask again", act(() => app.call("approvals.forget", { key: row.key }), "It will ask again."), {}))))));
  }

  const act = (work, done) => (event) => busy(event.currentTarget, async () => {
    await attempt(work, done);
    if (!scope.over && app.gateway.online) load();
  });

  function card(device) {
    const isOwn = device.deviceId === own;
    const name = nameOf(device);
    const facts = [["Role", (device.roles || []).join(", ")], ["Paired", h("time", { title: moment(device.approvedAtMs) }, ago(device.approvedAtMs))], ["Rights", (device.scopes || []).map((s) => s.replace("operator.", "")).join(", ") || "none"]];
    return h("section.card", { data: { device: device.deviceId } },
      h("div.card-head", h("h2.cut", name), isOwn && badge("this browser", "accent")),
      h("dl.facts", facts.map(([label, value]) => [h("dt", label), h("dd", value)])),
      h("p.small.muted.mono.cut", { title: device.deviceId }, short(device.deviceId, 24)),
      (device.tokens || []).map((token) => h("div.row.wrap.token", h("div.grow", h("p.small.strong", `Token for ${token.role}`), h("p.small.muted", tokenState(token))),
        !token.revokedAtMs && button("Rotate", (event) => busy(event.currentTarget, () => rotate(device, token)), {}),
        !token.revokedAtMs && button("Revoke", (event) => busy(event.currentTarget, () => revoke(device, token, isOwn)), { kind: "danger" }))),
      app.gateway.has("device.pair.remove") && !isOwn && h("div.row.end", button("Remove device", (event) => busy(event.currentTarget, () => remove(device)), { kind: "ghost" })));
  }

  async function rotate(device, token) {
    const yes = await confirm({ title: "Make a new token?", text: device.deviceId === own ? "This browser goes on with the new one; copies of the old one fail at once." : `The token that ${nameOf(device)} has now fails at once. It must be given the new one, or connect with the shared token.`, yes: "Make a new token", danger: true });
    if (!yes) return;
    await attempt(async () => {
      const made = await app.call("device.token.rotate", { deviceId: device.deviceId, role: token.role });
      if (device.deviceId === own && token.role === "operator") credentials.device = made.token;
      else reveal("The new token", made.token);
    });
    if (app.gateway.online) load();
  }

  async function revoke(device, token, isOwn) {
    const yes = await confirm({ title: "Revoke this token?", text: isOwn ? "This is the browser you are using: you will have to sign in again." : `${nameOf(device)} is disconnected at once.`, yes: "Revoke", danger: true });
    if (yes) await attempt(() => app.call("device.token.revoke", { deviceId: device.deviceId, role: token.role }), "Revoked.");
    if (app.gateway.online && !scope.over) load();
  }

  async function remove(device) {
    const yes = await confirm({ title: `Remove ${nameOf(device)}?`, text: "It is disconnected and must be paired anew.", yes: "Remove", danger: true });
    if (yes) await attempt(() => app.call("device.pair.remove", { deviceId: device.deviceId }), "Removed.");
    load();
  }

  async function rotateShared() {
    const yes = await confirm({ title: "Make a new shared token?", text: "Whoever signed in with the old one must sign in anew. Paired devices keep their own tokens.", yes: "Make a new token", danger: true });
    if (yes) await attempt(async () => reveal("The new shared token", (await app.call("auth.rotate")).token));
  }

  function reveal(title, token) {
    dialog({ title, picture: "key", body: () => [h("p", "It is shown this once. Copy it to where it is needed."), codeBlock(token, "token")], actions: (close) => [button("Done", () => close(), { kind: "primary" })] });
  }

  scope.reload(load);
  for (const event of ["device.pair.requested", "device.pair.resolved"]) scope.on(event, soon(load, scope));
}

const nameOf = (row) => row.displayName || row.clientId || short(row.deviceId || "device", 12);

function tokenState(token) {
  if (token.revokedAtMs) return `revoked ${ago(token.revokedAtMs)}`;
  return token.lastUsedAtMs ? `last used ${ago(token.lastUsedAtMs)}` : `made ${ago(token.rotatedAtMs || token.createdAtMs)}`;
}
