// Talking to the assistant, as it happens.

import { button, empty, failure, fill, h, icon, iconButton } from "../dom.js";
import { duration, sessionName, short } from "../format.js";
import { composer } from "../parts/composer.js";
import { attempt, confirm, prompt, say, toast } from "../parts/dialog.js";
import { partElement, turnElement, turnsOf, updatePart } from "../parts/turns.js";

const HISTORY = 200;
const STOP_WAIT = 5000;
const STARTERS = ["What can you do?", "List the files in the workspace", "What do you remember?"];

export default function mount({ view, app, scope, argument }) {
  new Chat(view, app, scope, app.canonical(argument || lastSession() || "main"));
}

function lastSession() {
  try {
    return sessionStorage.getItem("rustyclaw.session") || "";
  } catch {
    return "";
  }
}

class Chat {
  constructor(view, app, scope, key) {
    Object.assign(this, { app, scope, key });
    scope.session = key; // its approvals are shown here, and need no notice
    this.sessions = [];
    this.runs = new Map(); // what is being answered: id -> {parts, elements, body, …}
    this.unheard = []; // what was sent and is not in the history yet
    this.extras = []; // answers to commands and errors: they are in no history
    this.cache = new Map();
    this.messages = null;
    remember("rustyclaw.session", key);
    this.build(view);
    scope.reload(() => this.load());
    scope.reload(() => this.loadSessions());
    scope.on("agent", (event) => this.mine(event) && this.hear(event));
    scope.on("chat", (event) => this.mine(event) && this.heard(event));
    scope.on("sessions.changed", () => this.loadSessions());
    scope.on("state", () => this.input.ready(app.gateway.online));
    scope.add(app.approvals.onChange(() => this.showApprovals()));
    scope.every(1000, () => this.showTimes());
  }

  mine(event) {
    return event.sessionKey && this.app.canonical(event.sessionKey) === this.key;
  }

  // --- Elements ---------------------------------------------------------------------

  build(view) {
    const { app } = this;
    this.select = h("select.select.grow", { "aria-label": "Conversation", id: "session", onchange: () => app.go(`chat/${encodeURIComponent(this.select.value)}`) });
    this.thinking = h("select.select", { "aria-label": "Thinking", id: "thinking", onchange: () => this.patch({ thinkingLevel: this.thinking.value }) },
      ["off", "minimal", "low", "medium", "high"].map((level) => h("option", { value: level }, `Thinking: ${level}`)));
    this.past = h("div.turns");
    this.live = h("div.turns", { id: "live" });
    this.asked = h("div.turns", { id: "approvals" });
    this.log = h("div.chat-log", { tabindex: "0", role: "region", "aria-label": "Conversation" }, h("div.chat-inner", this.past, this.live, this.asked));
    this.log.addEventListener("scroll", () => this.follow());
    this.down = button("Latest", () => this.bottom(true), { picture: "down", hidden: true });
    this.input = composer({ send: (text, files) => this.send(text, files), stop: () => this.stop(), draft: draftOf(this.key) });
    fill(view,
      h("header.chat-head", h("h1.hidden-text", "Chat"), this.select,
        app.gateway.has("sessions.patch") && this.thinking,
        iconButton("plus", "New conversation", () => app.go(`chat/${encodeURIComponent(`ui-${Math.random().toString(36).slice(2, 8)}`)}`)),
        app.gateway.has("sessions.patch") && iconButton("edit", "Rename conversation", () => this.rename()),
        app.gateway.has("sessions.reset") && iconButton("refresh", "Begin this conversation anew", () => this.reset())),
      this.log, h("div.chat-down", this.down), this.input.element);
    this.input.ready(app.gateway.online);
    this.showSessions();
    if (matchMedia("(min-width: 56rem)").matches) this.input.focus();
  }

  // --- The past ---------------------------------------------------------------------

  async load() {
    const turn = (this.loading = (this.loading || 0) + 1);
    try {
      const answer = await this.app.call("chat.history", { sessionKey: this.key, limit: HISTORY });
      if (turn !== this.loading || this.scope.over) return;
      this.messages = answer.messages || [];
      this.thinking.value = answer.thinkingLevel || "off";
      this.unheard = this.unheard.filter((sent) => !this.messages.some((m) => m.role === "user" && m.timestamp > sent.after && textOf(m).includes(sent.text)));
      this.showPast();
    } catch (error) {
      if (!this.scope.over && !this.messages) fill(this.past, failure(error, () => this.load()));
    }
  }

  showPast() {
    const turns = [
      ...turnsOf(this.messages || []),
      ...this.extras,
      ...this.unheard.map((sent) => ({ role: "user", at: sent.at, parts: sent.parts })),
    ];
    const elements = turns.map((turn) => {
      const key = JSON.stringify(turn);
      const element = this.cache.get(key) || turnElement(turn);
      return [key, element];
    });
    this.cache = new Map(elements);
    if (!turns.length && !this.runs.size) fill(this.past, this.welcome());
    else sync(this.past, elements.map(([, element]) => element));
    this.bottom();
  }

  welcome() {
    return empty("chat", "What shall we do?", "Ask a question, or give the assistant something to do. It tells which tools it uses, and asks before it does anything risky.",
      ...STARTERS.map((text) => button(text, () => this.send(text, []))));
  }

  // --- What is said now -------------------------------------------------------------

  async send(text, files) {
    const id = crypto.randomUUID();
    const last = this.messages?.[this.messages.length - 1];
    const media = files.map((file) => ({ kind: "media", name: file.fileName, size: file.size, url: file.url }));
    const sent = { id, text, at: Date.now(), after: last?.timestamp || 0, parts: [...media, ...(text ? [{ kind: "text", text }] : [])] };
    this.unheard.push(sent);
    this.showPast();
    this.bottom(true);
    try {
      const attachments = files.map(({ fileName, mimeType, content }) => ({ fileName, mimeType, content }));
      const answer = await this.app.call("chat.send", { sessionKey: this.key, message: text, idempotencyKey: id, ...(attachments.length && { attachments }) }, { timeout: 60_000 });
      if (answer.aborted !== undefined) this.drop(id);
    } catch (error) {
      this.drop(id);
      this.extras.push({ role: "note", at: Date.now(), parts: [{ kind: "text", text: `Not sent: ${error.message}` }] });
      if (text) this.input.set(text);
      this.showPast();
    }
  }

  drop(id) {
    this.unheard = this.unheard.filter((sent) => sent.id !== id);
    this.showPast();
  }

  async stop() {
    await attempt(() => this.app.call("chat.abort", { sessionKey: this.key }));
  }

  run(id) {
    let run = this.runs.get(id);
    if (!run) {
      const status = h("p.working", h("span.dot.busy"), h("span"), h("span.muted.small"));
      const body = h("div.turn-body");
      const element = h("article.turn.assistant.live", { "aria-label": "Assistant", "aria-busy": "true" }, h("header.turn-head", h("span.turn-who", "Assistant")), body, status);
      run = { id, body, element, status, parts: [], elements: [], since: Date.now() };
      this.runs.set(id, run);
      this.past.querySelector(".empty")?.remove();
      this.live.append(element);
      this.tell(run, "Thinking");
      this.input.running(true);
    }
    return run;
  }

  tell(run, words) {
    run.status.children[1].textContent = words;
    this.showTimes();
  }

  showTimes() {
    for (const run of this.runs.values()) run.status.children[2].textContent = duration(Date.now() - run.since);
  }

  hear({ runId, stream, data }) {
    if (stream === "lifecycle") {
      if (data.phase === "start") {
        const isOurs = this.unheard.some((sent) => sent.id === runId);
        this.run(runId);
        if (!isOurs) this.load();
        say("The assistant is answering.");
        this.bottom();
      } else if (this.runs.get(runId)?.aborted) this.finish(runId);
      return;
    }
    const run = this.run(runId);
    if (stream === "assistant") this.grow(run, "text", data.text);
    else if (stream === "thinking") this.grow(run, "thinking", data.text);
    else if (stream === "tool") this.tool(run, data);
    else if (stream === "compaction") this.tell(run, data.phase === "start" ? "Shortening the conversation" : "Thinking");
    this.bottom();
  }

  grow(run, kind, text) {
    const at = run.parts.length - 1;
    if (run.parts[at]?.kind === kind) {
      run.parts[at].text = text;
      updatePart(run.elements[at], run.parts[at]);
    } else this.add(run, { kind, text });
    this.tell(run, kind === "text" ? "Writing" : "Thinking");
  }

  tool(run, { phase, name, toolCallId, args, result, isError }) {
    const at = run.parts.findIndex((part) => part.id === toolCallId);
    const part = run.parts[at] || { kind: "tool", id: toolCallId, name, args: args || {}, state: "running" };
    if (phase === "result") {
      part.state = isError ? "failed" : "done";
      part.result = typeof result === "string" ? result : result === undefined ? "" : JSON.stringify(result, null, 2);
    }
    if (at < 0) this.add(run, part);
    else updatePart(run.elements[at], part);
    const running = run.parts.find((p) => p.state === "running");
    this.tell(run, running ? `Using ${running.name}` : "Thinking");
  }

  add(run, part) {
    const element = partElement(part);
    run.parts.push(part);
    run.elements.push(element);
    run.body.append(element);
  }

  heard({ runId, state, message, errorMessage }) {
    if (state === "delta") {
      const run = this.run(runId);
      if (!run.parts.some((part) => part.kind === "text")) this.grow(run, "text", textOf(message));
      return;
    }
    const injected = message?.model === "gateway-injected";
    if (state === "final" && !message && !this.runs.has(runId)) return; // it waits for its turn
    if (state === "final" && message) say(short(textOf(message), 400));
    if (state === "aborted") {
      this.stopped(runId);
      return;
    }
    if (state === "error") say(`The run failed: ${errorMessage}`, true);
    this.finish(runId, injected || state === "error" ? { injected, message, errorMessage } : null);
  }

  /** A stopped run is told of before it has ended: what it said is not yet written. */
  stopped(runId) {
    const run = this.runs.get(runId);
    if (!run) return void this.finish(runId);
    run.aborted = true;
    this.tell(run, "Stopping");
    setTimeout(() => this.runs.get(runId) === run && this.finish(runId), STOP_WAIT);
    return undefined;
  }

  /** What was live becomes the past: first the new past, then the live part goes. */
  async finish(runId, extra) {
    const sent = this.unheard.find((one) => one.id === runId);
    await this.load();
    if (extra) {
      const parts = extra.injected ? [{ kind: "text", text: textOf(extra.message) }] : [{ kind: "text", text: `**The run failed.** ${extra.errorMessage || ""}` }];
      if (extra.injected && sent) {
        this.unheard = this.unheard.filter((one) => one !== sent);
        this.extras.push({ role: "user", at: sent.at, parts: sent.parts });
      }
      this.extras.push({ role: "note", at: Date.now(), parts });
    }
    this.runs.get(runId)?.element.remove();
    this.runs.delete(runId);
    this.input.running(this.runs.size > 0);
    if (!this.scope.over) this.showPast();
  }

  showApprovals() {
    sync(this.asked, this.app.approvals.in(this.key).map((row) => this.asked.querySelector(`[data-approval="${CSS.escape(row.id)}"]`) || this.app.approvals.card(row)));
    this.bottom();
  }

  // --- Scrolling --------------------------------------------------------------------

  follow() {
    this.away = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight > 80;
    this.down.hidden = !this.away;
  }

  bottom(force = false) {
    if (this.away && !force) return;
    this.away = false;
    this.log.scrollTop = this.log.scrollHeight;
  }

  // --- The session ------------------------------------------------------------------

  async loadSessions() {
    if (!this.app.gateway.has("sessions.list")) return;
    try {
      const answer = await this.app.call("sessions.list", { limit: 100, includeDerivedTitles: true });
      this.sessions = answer.sessions || [];
      this.showSessions();
    } catch (error) {
      console.warn(error); // the switch then offers this session alone
    }
  }

  showSessions() {
    const main = this.app.canonical("main");
    const rows = [...this.sessions];
    for (const key of [main, this.key]) if (!rows.some((row) => row.key === key)) rows.unshift({ key });
    fill(this.select, rows.map((row) => h("option", { value: row.key, selected: row.key === this.key }, short(row.key === this.key || row.label ? sessionName(row) : sessionName(row), 60))));
    this.select.value = this.key;
  }

  async patch(change) {
    await attempt(() => this.app.call("sessions.patch", { key: this.key, ...change }));
  }

  async rename() {
    const row = this.sessions.find((one) => one.key === this.key);
    const label = await prompt({ title: "Rename conversation", label: "Name", value: row?.label || "", maxlength: "64" });
    if (label === undefined) return;
    await attempt(() => this.app.call("sessions.patch", { key: this.key, label: label || null }), "Renamed.");
    this.loadSessions();
  }

  async reset() {
    const yes = await confirm({ title: "Begin anew?", text: "The assistant forgets what was said here. The old transcript stays on the gateway's disk.", yes: "Begin anew", danger: true });
    if (!yes) return;
    await attempt(() => this.app.call("sessions.reset", { key: this.key }));
    this.extras = [];
    this.unheard = [];
    this.load();
    toast("A new conversation has begun.");
  }
}

/** Make the children of an element these, moving as little as possible. */
function sync(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, n) => parent.children[n] !== child && parent.insertBefore(child, parent.children[n] || null));
}

function textOf(message) {
  const content = message?.content;
  if (typeof content === "string") return content;
  return (content || []).filter((block) => block.type === "text").map((block) => block.text).join("\n");
}

function remember(name, value) {
  try {
    if (value) sessionStorage.setItem(name, value);
    else sessionStorage.removeItem(name);
  } catch {
    // A draft is then lost with the page.
  }
}

function draftOf(key) {
  const name = `rustyclaw.draft.${key}`;
  return {
    read: () => {
      try {
        return sessionStorage.getItem(name) || "";
      } catch {
        return "";
      }
    },
    write: (text) => remember(name, text),
  };
}
