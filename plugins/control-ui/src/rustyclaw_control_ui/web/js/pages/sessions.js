// All conversations: find, read, rename, begin anew, shorten, delete.

import { badge, button, busy, empty, failure, fill, h, icon, iconButton, skeleton } from "../dom.js";
import { ago, gist, moment, number, sessionName } from "../format.js";
import { attempt, confirm, dialog, prompt, toast } from "../parts/dialog.js";
import { turnElement, turnsOf } from "../parts/turns.js";
import { soon } from "./dashboard.js";

export default function mount({ view, app, scope }) {
  const search = h("input.input", { type: "search", placeholder: "Search names and keys", "aria-label": "Search conversations", autocomplete: "off" });
  const count = h("p.muted.small", { role: "status" });
  const body = h("div.card", skeleton(4));
  fill(view, h("header.page-head", h("div.grow", h("h1", "Sessions"), h("p", "Every conversation that the gateway keeps.")), button("New conversation", () => app.go(`chat/${encodeURIComponent(`ui-${Math.random().toString(36).slice(2, 8)}`)}`), { kind: "primary", picture: "plus" })),
    h("div.row.wrap", h("div.search", icon("search"), search), count), body);

  async function load() {
    try {
      const answer = await app.call("sessions.list", { limit: 500, includeDerivedTitles: true, includeLastMessage: true, ...(search.value.trim() && { search: search.value.trim() }) });
      if (!scope.over) show(answer.sessions || []);
    } catch (error) {
      if (!scope.over) fill(body, failure(error, load));
    }
  }

  function show(rows) {
    count.textContent = rows.length === 1 ? "1 conversation" : `${number(rows.length)} conversations`;
    if (!rows.length && search.value) return fill(body, empty("search", "Nothing found", `No conversation is called “${search.value}”.`));
    if (!rows.length) return fill(body, empty("sessions", "No conversation yet", "What you and others say to the assistant is kept here.", button("Open the chat", () => app.go("chat"), { kind: "primary" })));
    return fill(body, h("ul.list.sessions", rows.map((row) => element(row))));
  }

  function element(row) {
    const isMain = row.key === app.canonical("main");
    const name = sessionName(row);
    const run = (work) => (event) => busy(event.currentTarget, work);
    const facts = [row.channel, row.model, row.totalTokens ? `${number(row.totalTokens)} tokens` : ""].filter(Boolean).join(" · ");
    return h("li", { data: { key: row.key } },
      h("a.grow.plain-link", { href: `#/chat/${encodeURIComponent(row.key)}` },
        h("p.row", h("span.strong.cut", name), isMain && badge("main", "accent"), row.kind === "group" && badge("group")),
        h("p.small.muted.cut", gist(row.lastMessagePreview) || row.key),
        h("p.small.muted.cut", h("time", { title: moment(row.updatedAt) }, ago(row.updatedAt)), facts && ` · ${facts}`)),
      h("div.row.actions",
        iconButton("file", `Read ${name}`, () => transcript(row)),
        iconButton("edit", `Rename ${name}`, run(() => rename(row))),
        iconButton("compact", `Shorten ${name}`, run(() => compact(row))),
        iconButton("refresh", `Begin ${name} anew`, run(() => reset(row))),
        !isMain && iconButton("trash", `Delete ${name}`, run(() => remove(row)))));
  }

  async function rename(row) {
    const label = await prompt({ title: "Rename conversation", label: "Name", value: row.label || "", maxlength: "64", hint: "Leave it empty to go back to the name that the gateway gives it." });
    if (label !== undefined) await attempt(() => app.call("sessions.patch", { key: row.key, label: label || null }), "Renamed.");
    load();
  }

  async function reset(row) {
    const yes = await confirm({ title: `Begin “${sessionName(row)}” anew?`, text: "The assistant forgets what was said there. The old transcript stays on the gateway's disk.", yes: "Begin anew", danger: true });
    if (yes) await attempt(() => app.call("sessions.reset", { key: row.key }), "A new conversation has begun.");
    load();
  }

  async function remove(row) {
    const yes = await confirm({ title: `Delete “${sessionName(row)}”?`, text: "The conversation and its transcript are removed. This cannot be undone.", yes: "Delete", danger: true });
    if (yes) await attempt(() => app.call("sessions.delete", { key: row.key }), "Deleted.");
    load();
  }

  async function compact(row) {
    const yes = await confirm({ title: `Shorten “${sessionName(row)}”?`, text: "The model writes a summary that takes the place of the older part. That may take a while.", yes: "Shorten" });
    if (!yes) return;
    await attempt(async () => {
      const answer = await app.call("sessions.compact", { key: row.key }, { timeout: 330_000 });
      toast(answer.compacted ? "Shortened." : answer.reason || "There was nothing to shorten.");
    });
    load();
  }

  /** Show a transcript, page by page from its end. */
  function transcript(row) {
    dialog({
      title: sessionName(row),
      picture: "file",
      wide: true,
      body: () => {
        const messages = [];
        const place = h("div.turns", skeleton(2));
        const older = button("Earlier messages", (event) => busy(event.currentTarget, more), { hidden: true });
        let before;
        async function more() {
          try {
            const paged = app.gateway.has("sessions.get");
            const answer = paged ? await app.call("sessions.get", { key: row.key, limit: 100, ...(before !== undefined && { before }) }) : await app.call("chat.history", { sessionKey: row.key, limit: 1000 });
            messages.unshift(...(answer.messages || []));
            before = answer.before;
            older.hidden = !before;
            const turns = turnsOf(messages);
            fill(place, turns.length ? turns.map(turnElement) : h("p.muted", "Nothing has been said here yet."));
          } catch (error) {
            fill(place, failure(error, more));
          }
        }
        more();
        return h("div.stack", h("p.small.muted.wrap.mono", row.key), older, place);
      },
      actions: (close) => [button("Close", () => close()), button("Continue in the chat", () => {
        close();
        app.go(`chat/${encodeURIComponent(row.key)}`);
      }, { kind: "primary", picture: "chat" })],
    });
  }

  search.addEventListener("input", soon(load, scope, 200));
  scope.on("sessions.changed", soon(load, scope));
  scope.reload(load);
}
