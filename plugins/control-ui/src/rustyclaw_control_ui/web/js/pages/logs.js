// The gateway's log, as it grows.

import { badge, button, empty, failure, fill, h, icon, skeleton } from "../dom.js";
import { number } from "../format.js";

const LEVELS = ["debug", "info", "warning", "error"];
const MOST = 2000;
const EVERY = 2000;

export default function mount({ view, app, scope }) {
  const entries = [];
  let cursor;
  let shown = false;
  let loading = false;
  const level = h("select.select", { "aria-label": "Least level", onchange: () => filter() }, LEVELS.map((name) => h("option", { value: name, selected: name === "info" }, name === "debug" ? "All levels" : `${name} and above`)));
  const search = h("input.input", { type: "search", placeholder: "Filter text", "aria-label": "Filter text", autocomplete: "off", oninput: () => filter() });
  const follow = h("input", { type: "checkbox", checked: true, onchange: () => follow.checked && bottom() });
  const count = h("span.small.muted", { role: "status" });
  const lines = h("div.log-lines", { tabindex: "0", role: "region", "aria-label": "Log lines" }, skeleton(3));
  fill(view, h("header.page-head", h("div.grow", h("h1", "Logs"), h("p", "Secrets never reach the log.")), h("label.check", follow, "Follow"), button("Clear", () => {
    entries.length = 0;
    fill(lines);
    filter();
  }, { picture: "trash" })), h("div.row.wrap", h("div.search", icon("search"), search), level, count), lines);
  lines.addEventListener("scroll", () => {
    const away = lines.scrollHeight - lines.scrollTop - lines.clientHeight > 40;
    if (away === follow.checked && shown) follow.checked = !away;
  });

  async function load() {
    if (loading) return;
    loading = true;
    try {
      const answer = await app.call("logs.tail", { limit: 1000, ...(cursor !== undefined && { cursor }) });
      if (scope.over) return;
      if (answer.reset || !shown) {
        entries.length = 0;
        fill(lines);
      }
      shown = true;
      cursor = answer.cursor;
      add(answer.lines || []);
    } catch (error) {
      if (!scope.over && !shown) fill(lines, failure(error, load));
    } finally {
      loading = false;
    }
  }

  function add(texts) {
    if (!texts.length) return filter();
    lines.querySelector(".empty")?.remove();
    const fresh = texts.map(read);
    for (const entry of fresh) entry.element = lineElement(entry);
    entries.push(...fresh);
    fresh.forEach((entry) => {
      entry.element.hidden = !matches(entry);
      lines.append(entry.element);
    });
    for (const old of entries.splice(0, Math.max(0, entries.length - MOST))) old.element.remove();
    filter();
    return bottom();
  }

  function matches(entry) {
    return LEVELS.indexOf(entry.level) >= LEVELS.indexOf(level.value) && entry.all.includes(search.value.trim().toLowerCase());
  }

  function filter() {
    let visible = 0;
    for (const entry of entries) {
      entry.element.hidden = !matches(entry);
      if (!entry.element.hidden) visible += 1;
    }
    count.textContent = visible === entries.length ? `${number(visible)} lines` : `${number(visible)} of ${number(entries.length)} lines`;
    const none = lines.querySelector(".empty");
    if (visible || !shown) none?.remove();
    else if (!none) lines.append(empty("logs", entries.length ? "Nothing matches" : "The log is empty", entries.length ? "Choose another level, or another text." : "What the gateway has to say appears here."));
    bottom();
  }

  function bottom() {
    if (follow.checked) lines.scrollTop = lines.scrollHeight;
  }

  scope.reload(load);
  scope.every(EVERY, () => follow.checked && load());
}

function read(text) {
  let record = {};
  try {
    record = JSON.parse(text);
  } catch {
    record = { message: text };
  }
  const word = String(record.level || record._meta?.logLevelName || "info").toLowerCase();
  const level = { warn: "warning", critical: "error", fatal: "error", trace: "debug" }[word] || (LEVELS.includes(word) ? word : "info");
  const message = [record.message ?? record["0"] ?? text, record.error].filter(Boolean).join("\n");
  return { at: record.timestamp || record.time || "", level, target: record.target || record.name || "", message: String(message), all: text.toLowerCase() };
}

const KINDS = { error: "bad", warning: "warn", info: "note", debug: "" };

function lineElement(entry) {
  const time = entry.at ? new Date(entry.at) : null;
  return h("div.log-line", { data: { level: entry.level } },
    h("time.muted", { title: entry.at }, time && !Number.isNaN(time.getTime()) ? time.toLocaleTimeString() : ""),
    badge(entry.level, KINDS[entry.level]), h("span.log-target.muted", entry.target), h("span.log-text", entry.message));
}
