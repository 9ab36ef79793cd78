// Markdown as models write it, turned into elements. The text is never parsed as
// markup: there is no path from it to a tag, an attribute other than a checked link,
// or a request to anywhere. Images become links that a person may follow.

import { h, icon } from "./dom.js";

const DEEPEST = 12;

/**
 * Show a text in an element. Only what differs from the last time is built anew, so
 * that a text that grows while it is streamed stays cheap, and a selection survives.
 */
export function render(element, text) {
  const blocks = split(String(text).replaceAll("\r\n", "\n"));
  const known = element.blocks || [];
  let same = 0;
  while (same < known.length && same < blocks.length && known[same] === blocks[same]) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  for (const block of blocks.slice(same)) element.append(built(block, 0));
  element.blocks = blocks;
  return element;
}

export const markdown = (text) => render(h("div.prose"), text);

// --- Blocks -------------------------------------------------------------------------

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const ITEM = /^( {0,6})([-*+]|\d{1,9}[.)])(?:[ \t]+(.*)|)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const DELIMITER = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** Return the sources of the blocks of a text. */
function split(text) {
  const lines = text.split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const end = endOf(lines, at);
    blocks.push(lines.slice(at, end).join("\n").replace(/\s+$/, ""));
    at = end;
  }
  return blocks;
}

function endOf(lines, start) {
  const first = lines[start];
  const fence = FENCE.exec(first);
  if (fence) {
    const end = lines.findIndex((line, n) => n > start && closes(line, fence[1]));
    return end < 0 ? lines.length : end + 1;
  }
  if (HEADING.test(first) || RULE.test(first)) return start + 1;
  let at = start + 1;
  if (QUOTE.test(first)) {
    while (at < lines.length && lines[at].trim() && (QUOTE.test(lines[at]) || !begins(lines[at]))) at += 1;
    return at;
  }
  if (ITEM.test(first)) return endOfList(lines, start);
  if (isTable(lines, start)) {
    at = start + 2;
    while (at < lines.length && lines[at].includes("|") && lines[at].trim()) at += 1;
    return at;
  }
  while (at < lines.length && lines[at].trim() && !begins(lines[at]) && !isTable(lines, at)) at += 1;
  return at;
}

const closes = (line, fence) => {
  const text = line.trim();
  return text.length >= fence.length && text === fence[0].repeat(text.length);
};
const begins = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
const isTable = (lines, at) => at + 1 < lines.length && lines[at].includes("|") && lines[at + 1].includes("-") && DELIMITER.test(lines[at + 1]) && cells(lines[at]).length === cells(lines[at + 1]).length;

/** A list goes on over blank lines as long as what follows is indented or an item. */
function endOfList(lines, start) {
  const ordered = /\d/.test(ITEM.exec(lines[start])[2]);
  let at = start + 1;
  let fence = "";
  while (at < lines.length) {
    const line = lines[at];
    const mark = FENCE.exec(line.trimStart());
    if (fence) {
      if (closes(line, fence)) fence = "";
    } else if (!line.trim()) {
      const next = lines[at + 1] ?? "";
      const item = ITEM.exec(next);
      if (!/^( {2,}|\t)\S/.test(next) && !(item && /\d/.test(item[2]) === ordered)) return at;
    } else if (!/^( {2,}|\t)/.test(line)) {
      const item = RULE.test(line) ? null : ITEM.exec(line);
      if (item ? /\d/.test(item[2]) !== ordered : begins(line)) return at;
    } else if (mark) fence = mark[1];
    at += 1;
  }
  return at;
}

function built(source, depth) {
  const lines = source.split("\n");
  const first = lines[0];
  let found;
  if ((found = FENCE.exec(first))) return code(lines, found);
  if ((found = HEADING.exec(first))) return h(`h${Math.min(found[1].length + 2, 6)}`, inline(found[2]));
  if (RULE.test(first)) return h("hr");
  if (depth < DEEPEST && QUOTE.test(first)) return h("blockquote", nested(lines.map((line) => QUOTE.exec(line)?.[1] ?? line), depth));
  if (depth < DEEPEST && ITEM.test(first)) return list(lines, depth);
  if (isTable(lines, 0)) return table(lines);
  return h("p", inline(source.trim()));
}

const nested = (lines, depth) => split(lines.join("\n")).map((block) => built(block, depth + 1));

/** Return a block of code with its language and a button that copies it. */
export function codeBlock(text, language = "") {
  const copy = h("button.copy", { type: "button", "aria-label": "Copy code", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.dataset.done = "yes";
      setTimeout(() => delete copy.dataset.done, 1500);
    } catch {
      getSelection().selectAllChildren(copy.parentNode.nextSibling);
    }
  } }, icon("copy"));
  return h("div.code", h("div.code-head", h("span", language || "text"), copy), h("pre", { tabindex: "0" }, h("code", text)));
}

function code(lines, [, fence, language]) {
  const body = lines.slice(1);
  if (body.length && closes(body[body.length - 1], fence)) body.pop();
  return codeBlock(body.join("\n"), language.trim().split(/\s/)[0].slice(0, 30));
}

function list(lines, depth) {
  const marker = ITEM.exec(lines[0]);
  const ordered = /\d/.test(marker[2]);
  const indent = marker[1].length;
  const items = [];
  let fenced = false;
  for (const line of lines) {
    const item = fenced ? null : ITEM.exec(line);
    if (item && item[1].length <= indent + 1) items.push([item[3] ?? ""]);
    else items[items.length - 1].push(outdented(line, indent));
    if (FENCE.test(line.trimStart())) fenced = !fenced;
  }
  const number = parseInt(marker[2], 10);
  const loose = lines.some((line) => !line.trim());
  return h(ordered ? "ol" : "ul", { start: ordered && number !== 1 ? number : undefined }, items.map((item) => listItem(item, depth, loose)));
}

const outdented = (line, indent) => line.replace(new RegExp(`^[ \\t]{0,${indent + 3}}`), "");

function listItem(lines, depth, loose) {
  const task = /^\[([ xX])\][ \t]+/.exec(lines[0]);
  if (task) lines[0] = lines[0].slice(task[0].length);
  const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "to do" : "done" });
  const children = nested(lines, depth);
  const flat = !loose && children[0]?.tagName === "P" ? [...children[0].childNodes, ...children.slice(1)] : children;
  return h(task ? "li.task" : "li", box, flat);
}

function cells(line) {
  const text = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  const found = [];
  let cell = "";
  let ticks = false;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\" && text[at + 1] === "|") {
      cell += "|";
      at += 1;
    } else if (text[at] === "|" && !ticks) {
      found.push(cell.trim());
      cell = "";
    } else {
      if (text[at] === "`") ticks = !ticks;
      cell += text[at];
    }
  }
  return [...found, cell.trim()];
}

function table(lines) {
  const sides = cells(lines[1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const row = (line, tag) => h("tr", sides.map((side, n) => h(tag, { class: side || undefined, scope: tag === "th" ? "col" : undefined }, inline(cells(line)[n] ?? ""))));
  return h("div.table-wrap", { tabindex: "0", role: "group", "aria-label": "Table" }, h("table", h("thead", row(lines[0], "th")), h("tbody", lines.slice(2).map((line) => row(line, "td")))));
}

// --- Inside a block -----------------------------------------------------------------

const SPECIAL = /[\\`*_~[!<\n]|https?:\/\//;
const MARKS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

/** Return the nodes of a text with emphasis, code, links and line breaks. */
export function inline(text, depth = 0) {
  const nodes = [];
  let plain = "";
  let at = 0;
  const flush = () => {
    if (plain) nodes.push(plain);
    plain = "";
  };
  while (at < text.length) {
    const next = text.slice(at).search(SPECIAL);
    if (next < 0) break;
    plain += text.slice(at, at + next);
    at += next;
    const found = depth < DEEPEST && piece(text, at, depth);
    if (found) {
      flush();
      nodes.push(found.node);
      at = found.end;
    } else {
      const escaped = text[at] === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] || "");
      if (escaped) at += 1;
      plain += text[at];
      at += 1;
    }
  }
  plain += text.slice(at);
  flush();
  return nodes;
}

function piece(text, at, depth) {
  switch (text[at]) {
    case "`": return codeSpan(text, at);
    case "\n": return { node: h("br"), end: at + 1 };
    case "[": return link(text, at, at, depth);
    case "!": return text[at + 1] === "[" ? link(text, at + 1, at, depth) : null;
    case "<": return angle(text, at);
    case "h": return bare(text, at);
    default: return emphasis(text, at, depth);
  }
}

function codeSpan(text, at) {
  const ticks = /^`+/.exec(text.slice(at, at + 32))[0];
  let end = at + ticks.length;
  while ((end = text.indexOf(ticks, end)) >= 0) {
    if (text[end + ticks.length] !== "`" && text[end - 1] !== "`") break;
    end += 1;
  }
  if (end < 0) return null;
  const inner = text.slice(at + ticks.length, end).replaceAll("\n", " ");
  return { node: h("code", /^ .*\S.* $/.test(inner) ? inner.slice(1, -1) : inner), end: end + ticks.length };
}

function emphasis(text, at, depth) {
  for (const [mark, tag] of MARKS) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    if (/\s/.test(text[start] ?? " ")) continue;
    if (mark.includes("_") && /\w/.test(text[at - 1] ?? "")) continue;
    const end = closing(text, start, mark);
    if (end > start) return { node: h(tag, inline(text.slice(start, end), depth + 1)), end: end + mark.length };
  }
  return null;
}

function closing(text, start, mark) {
  let end = start;
  for (let tries = 0; tries < 50; tries += 1) {
    end = text.indexOf(mark, end);
    if (end < 0) return -1;
    const before = text[end - 1];
    const after = text[end + mark.length] ?? "";
    const longer = mark.length === 1 && (after === mark || (before === mark && text[end - 2] !== "\\"));
    if (!/[\s\\]/.test(before) && !longer && !(mark.includes("_") && /\w/.test(after))) return end;
    end += longer && after === mark ? 2 : 1;
  }
  return -1;
}

function link(text, at, start, depth) {
  let close = at;
  let open = 0;
  for (; close < Math.min(text.length, at + 2000); close += 1) {
    if (text[close] === "\\") close += 1;
    else if (text[close] === "[" && (open += 1) > DEEPEST) return null;
    else if (text[close] === "]" && --open === 0) break;
  }
  if (text[close] !== "]" || text[close + 1] !== "(") return null;
  const target = /^\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+["'(][^\n]*?["')])?\s*\)/.exec(text.slice(close + 1, close + 4000));
  if (!target) return null;
  const label = text.slice(at + 1, close);
  const end = close + 1 + target[0].length;
  const url = safe(target[1]);
  const isImage = start !== at;
  const words = isImage ? [icon("file"), label || "image"] : inline(label, depth + 1);
  if (!url) return { node: h("span", isImage ? `[${label || "image"}]` : words), end };
  return { node: anchor(url, words, isImage ? "image-link" : ""), end };
}

function angle(text, at) {
  const found = /^<((?:https?:\/\/|mailto:)[^\s<>]+)>/i.exec(text.slice(at, at + 2000));
  const url = found && safe(found[1]);
  return url ? { node: anchor(url, found[1]), end: at + found[0].length } : null;
}

function bare(text, at) {
  if (/\w/.test(text[at - 1] ?? "")) return null;
  const found = /^https?:\/\/[^\s<>"'`]+/.exec(text.slice(at, at + 2000));
  if (!found) return null;
  let shown = found[0].replace(/[.,;:!?*_~]+$/, "");
  while (shown.endsWith(")") && count(shown, ")") > count(shown, "(")) shown = shown.slice(0, -1);
  const url = safe(shown);
  return url ? { node: anchor(url, shown), end: at + shown.length } : null;
}

const count = (text, what) => text.split(what).length - 1;

/** Return an address that a person may follow; empty if it could do anything else. */
export function safe(address) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return "";
  try {
    const url = new URL(address);
    return ["http:", "https:", "mailto:"].includes(url.protocol) && !url.username && !url.password ? url.href : "";
  } catch {
    return "";
  }
}

function anchor(url, words, kind = "") {
  return h("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank", title: url, class: kind || undefined }, words);
}
