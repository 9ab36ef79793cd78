// The chat for web pages. <script src="https://gateway/webchat/widget.js" async></script>
// puts a button into the corner; with `data-page` the chat fills the page instead.
// Everything lives in a shadow root, so that page and chat leave each other's styles alone.
(() => {
  "use strict";

  const settings = "{settings}";
  const script = document.currentScript;
  const base = new URL(script.src, location.href).href.replace(/\/widget\.js.*$/, "");
  const fills = script.hasAttribute("data-page");
  const title = script.dataset.title || settings.title;
  const TOKEN = `rustyclaw.webchat.token:${base}`;

  const STYLE = `
    :host { all: initial; --accent: #b4532a; --on-accent: #fff; --ink: #1f1b16;
      --soft: #6b6259; --paper: #fffdf9; --raised: #f4efe6; --line: #e2d9cb;
      font: 15px/1.5 system-ui, sans-serif; color: var(--ink); color-scheme: light dark; }
    @media (prefers-color-scheme: dark) { :host { --accent: #e58a5c; --on-accent: #21140c;
      --ink: #f1ebe2; --soft: #b0a496; --paper: #1b1815; --raised: #272320; --line: #3a342e; } }
    * { box-sizing: border-box; font: inherit; color: inherit; }
    .launch { position: fixed; right: 20px; bottom: 20px; width: 56px; height: 56px;
      border: 0; border-radius: 50%; background: var(--accent); color: var(--on-accent);
      box-shadow: 0 6px 20px rgb(0 0 0 / .25); cursor: pointer; }
    .panel { position: fixed; right: 20px; bottom: 90px; width: min(400px, calc(100vw - 40px));
      height: min(620px, calc(100dvh - 120px)); display: flex; flex-direction: column;
      background: var(--paper); border: 1px solid var(--line); border-radius: 16px;
      box-shadow: 0 12px 40px rgb(0 0 0 / .25); overflow: hidden; }
    .panel[hidden] { display: none; }
    .page { position: fixed; inset: 0; width: auto; height: auto; border: 0;
      border-radius: 0; box-shadow: none; }
    .page .log, .page form, .page header { width: 100%; max-width: 760px; margin-inline: auto; }
    header { display: flex; align-items: center; justify-content: space-between;
      padding: 14px 18px; border-bottom: 1px solid var(--line); font-weight: 600; }
    header button { border: 0; background: none; cursor: pointer; padding: 4px 8px; }
    .state { font-weight: 400; font-size: 13px; color: var(--soft); }
    .log { flex: 1; overflow-y: auto; padding: 18px; display: flex; flex-direction: column; gap: 10px; }
    .bubble { max-width: 85%; padding: 9px 13px; border-radius: 14px; overflow-wrap: anywhere;
      background: var(--raised); align-self: flex-start; }
    .bubble.user { background: var(--accent); color: var(--on-accent); align-self: flex-end; }
    .bubble.error { background: none; border: 1px solid var(--accent); }
    .bubble p { margin: 0 0 .6em; } .bubble p:last-child { margin: 0; }
    .bubble pre { margin: .4em 0; padding: 8px; border-radius: 8px; overflow-x: auto;
      background: var(--paper); font: 13px/1.45 ui-monospace, monospace; }
    .bubble code { font: .92em ui-monospace, monospace; }
    .bubble a { color: inherit; }
    .busy { color: var(--soft); font-size: 14px; }
    form { display: flex; gap: 8px; padding: 12px; border-top: 1px solid var(--line); }
    textarea { flex: 1; resize: none; max-height: 160px; padding: 9px 12px; border-radius: 12px;
      border: 1px solid var(--line); background: var(--raised); }
    form button { border: 0; border-radius: 12px; padding: 0 16px; cursor: pointer;
      background: var(--accent); color: var(--on-accent); font-weight: 600; }
    form button:disabled { opacity: .5; cursor: default; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    @media (max-width: 480px) { .panel { inset: 0; width: auto; height: auto; border-radius: 0; } }
  `;

  // --- Text: a little Markdown as nodes, never as HTML ----------------------------------

  const INLINE = /(`[^`\n]+`)|\*\*([^*\n]+)\*\*|(https?:\/\/[^\s<>()"'`]+[^\s<>()"'`.,;:!?])/g;

  function inline(parent, text) {
    let end = 0;
    for (const match of text.matchAll(INLINE)) {
      parent.append(text.slice(end, match.index));
      end = match.index + match[0].length;
      if (match[1]) parent.append(node("code", {}, match[1].slice(1, -1)));
      else if (match[2]) parent.append(node("strong", {}, match[2]));
      else parent.append(node("a", { href: match[3], rel: "noopener nofollow", target: "_blank" }, match[3]));
    }
    parent.append(text.slice(end));
  }

  function rich(parent, text) {
    parent.replaceChildren();
    for (const [place, part] of text.split(/^```[^\n]*\n?/m).entries()) {
      if (place % 2) {
        parent.append(node("pre", {}, node("code", {}, part.replace(/\n$/, ""))));
        continue;
      }
      for (const block of part.split(/\n{2,}/)) {
        if (!block.trim()) continue;
        const paragraph = node("p");
        for (const [row, line] of block.trim().split("\n").entries()) {
          if (row) paragraph.append(node("br"));
          inline(paragraph, line);
        }
        parent.append(paragraph);
      }
    }
  }

  function node(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // --- The panel ----------------------------------------------------------------------

  const host = node("div");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];

  const state = node("span", { class: "state", role: "status" });
  const close = node("button", { type: "button", "aria-label": "Close the chat" }, "✕");
  const log = node("div", { class: "log", role: "log", "aria-live": "polite", tabindex: "0", "aria-label": "Conversation" });
  const input = node("textarea", { rows: "1", "aria-label": "Your message", placeholder: "Write a message" });
  const send = node("button", { type: "submit" }, "Send");
  const form = node("form", {}, input, send);
  const heading = node("header", {}, node("span", {}, title), state);
  if (!fills) heading.append(close);
  const panel = node("section", { class: fills ? "panel page" : "panel", "aria-label": title }, heading, log, form);
  root.append(panel);
  if (!fills) {
    panel.hidden = true;
    const launch = node("button", { class: "launch", type: "button", "aria-label": `Open ${title}` }, "💬");
    launch.addEventListener("click", () => toggle(panel.hidden));
    close.addEventListener("click", () => { toggle(false); launch.focus(); });
    panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { toggle(false); launch.focus(); }
    });
    root.append(launch);
  }

  function toggle(open) {
    panel.hidden = !open;
    if (open) { start(); input.focus(); }
  }

  function bubble(role, text, id) {
    const made = node("div", { class: `bubble ${role}` });
    if (id) made.dataset.id = id;
    rich(made, text);
    log.append(made);
    log.scrollTop = log.scrollHeight;
    return made;
  }

  // --- Talking to the gateway ---------------------------------------------------------

  let started = false, last = 0, draft = null, pause = 1000;

  async function token(renew = false) {
    let known = null;
    try { known = renew ? null : localStorage.getItem(TOKEN); } catch { /* no storage here */ }
    if (known) return known;
    const answer = await fetch(`${base}/visitor`, { method: "POST" });
    if (!answer.ok) throw new Error((await answer.json()).error);
    known = (await answer.json()).token;
    try { localStorage.setItem(TOKEN, known); } catch { /* it lasts as long as the page */ }
    return known;
  }

  function start() {
    if (started) return;
    started = true;
    bubble("assistant", settings.greeting);
    listen();
  }

  async function listen() {
    for (;;) {
      try {
        const headers = { authorization: `Bearer ${await token()}`, "last-event-id": String(last) };
        const answer = await fetch(`${base}/events`, { headers });
        if (answer.status === 401) await token(true);
        if (!answer.ok) throw new Error(`${answer.status}`);
        state.textContent = "";
        pause = 1000;
        await read(answer.body);
      } catch {
        state.textContent = "reconnecting…";
      }
      await new Promise((done) => setTimeout(done, pause * (0.5 + Math.random())));
      pause = Math.min(pause * 2, 30000);
    }
  }

  async function read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      const parts = buffer.split("\n\n");
      buffer = parts.pop();
      for (const part of parts) take(part);
    }
  }

  function take(part) {
    let name = "", data = "";
    for (const line of part.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data) return;
    const event = JSON.parse(data);
    if (name === "draft") {
      draft ??= bubble("assistant", "");
      draft.setAttribute("aria-busy", "true");
      if (event.text) rich(draft, event.text);
      else draft.replaceChildren(node("span", { class: "busy" }, "…"));
      log.scrollTop = log.scrollHeight;
    } else if (name === "message") {
      last = Math.max(last, event.seq);
      if (event.role === "user" && log.querySelector(`[data-id="${CSS.escape(event.id)}"]`)) return;
      if (event.role === "assistant") { draft?.remove(); draft = null; }
      bubble(event.role, event.text, event.id);
    }
  }

  async function say(text) {
    const id = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
    const mine = bubble("user", text, `in:${id}`);
    for (let tries = 0; tries < 3; tries += 1) {
      try {
        const answer = await fetch(`${base}/messages`, {
          method: "POST",
          headers: { authorization: `Bearer ${await token()}`, "content-type": "application/json" },
          body: JSON.stringify({ id, text }),
        });
        if (answer.ok) return;
        if (answer.status === 401) { await token(true); continue; }
        if (answer.status !== 503) throw new Error((await answer.json()).error);
      } catch (error) {
        if (!(error instanceof TypeError)) { mine.remove(); bubble("error", error.message); input.value = text; return; }
      }
      await new Promise((done) => setTimeout(done, 1000 * 2 ** tries));
    }
    mine.remove();
    bubble("error", "Your message could not be sent. Try again.");
    input.value = text;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    say(text);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  document.body.append(host);
  if (fills) start();
})();
