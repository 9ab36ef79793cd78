// Actions that wait for a person's word, wherever in the page that person is.

import { button, busy, fill, h, icon } from "../dom.js";
import { short } from "../format.js";
import { attempt, dialog, say } from "./dialog.js";
import { markCount } from "./shell.js";

export class Approvals {
  constructor(app) {
    this._app = app;
    this.pending = new Map();
    this._listeners = new Set();
    const { gateway } = app;
    gateway.on("exec.approval.requested", (row) => {
      this.pending.set(row.id, row);
      say(`Approval needed: ${short(what(row), 120)}`, true);
      this._changed();
    });
    gateway.on("exec.approval.resolved", ({ id }) => this.pending.delete(id) && this._changed());
    gateway.on("state", (state) => state === "online" && this._load());
    setInterval(() => this._expire(), 1000);
  }

  onChange(listener) {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  /** Return what waits in a session, the oldest first. */
  in(key) {
    return [...this.pending.values()].filter((row) => row.request?.sessionKey === key);
  }

  async decide(row, decision) {
    const done = await attempt(() => this._app.call("exec.approval.resolve", { id: row.id, decision }));
    if (done && this.pending.delete(row.id)) this._changed();
  }

  /** Show all that wait in a dialog, which closes when none is left. */
  review() {
    dialog({
      title: "Waiting for your approval",
      picture: "shield",
      wide: true,
      body: (close) => {
        const place = h("div.stack");
        const show = () => {
          if (this.pending.size === 0) close();
          fill(place, [...this.pending.values()].map((row) => this.card(row)));
        };
        show();
        const end = this.onChange(() => (place.isConnected ? show() : end()));
        return place;
      },
    });
  }

  card(row) {
    const request = row.request || {};
    const decide = (decision) => (event) => busy(event.currentTarget, () => this.decide(row, decision));
    const facts = [["Reason", request.reason], ["Folder", request.cwd], ["Agent", request.agentId], ["Session", request.sessionKey], ["Program", request.resolvedPath]].filter(([, value]) => value);
    const left = h("span.small.muted", { data: { expires: row.expiresAtMs } });
    countDown(left);
    return h("section.approval", { "aria-label": "Approval needed", data: { approval: row.id } },
      h("div.row", icon("shield"), h("span.strong.grow", "May the assistant do this?"), left),
      h("pre.plain", { tabindex: "0" }, what(row)),
      facts.length > 0 && h("dl.facts", facts.map(([name, value]) => [h("dt", name), h("dd", value)])),
      h("div.row.wrap",
        button("Allow once", decide("allow-once"), { kind: "primary", picture: "check" }),
        button("Always allow", decide("allow-always")),
        button("Deny", decide("deny"), { kind: "danger" })));
  }

  _changed() {
    markCount("chat", this.pending.size, "waiting for approval");
    for (const listener of [...this._listeners]) listener();
  }

  async _load() {
    this.pending.clear();
    if (this._app.gateway.has("approvals.list")) {
      try {
        const answer = await this._app.call("approvals.list");
        for (const row of answer.pending || answer.approvals || []) this.pending.set(row.id, row);
      } catch (error) {
        console.warn(error); // new ones still come as events
      }
    }
    this._changed();
  }

  _expire() {
    const now = Date.now();
    document.querySelectorAll("[data-expires]").forEach(countDown);
    const over = [...this.pending.values()].filter((row) => row.expiresAtMs && row.expiresAtMs + 1000 < now);
    over.forEach((row) => this.pending.delete(row.id));
    if (over.length) this._changed();
  }
}

const what = (row) => row.request?.command || row.request?.summary || "an action";

function countDown(element) {
  const seconds = Math.max(0, Math.round((Number(element.dataset.expires) - Date.now()) / 1000));
  element.textContent = element.dataset.expires ? `${seconds} s left` : "";
}
