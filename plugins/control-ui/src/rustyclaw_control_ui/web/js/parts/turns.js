// A conversation as turns: who spoke, and what they said, thought and did.

import { badge, fill, h, icon } from "../dom.js";
import { bytes, clock, moment, short } from "../format.js";
import { codeBlock, markdown, render } from "../markdown.js";

/**
 * Return turns from the messages of `chat.history`. A turn is {role, at, parts}; a part
 * is {kind: "text" | "thinking" | "tool" | "media" | "note", …}.
 */
export function turnsOf(messages) {
  const turns = [];
  const tools = new Map();
  for (const message of messages) {
    const content = Array.isArray(message.content) ? message.content : [{ type: "text", text: String(message.content ?? "") }];
    if (message.role === "toolResult" || message.role === "tool") {
      settle(tools, turns, message, content);
      continue;
    }
    const role = message.role === "user" ? "user" : message.role === "assistant" ? "assistant" : "note";
    let turn = turns[turns.length - 1];
    if (!turn || turn.role !== role || role === "user") turns.push((turn = { role, at: message.timestamp, parts: [] }));
    turn.model = message.model || turn.model;
    turn.stop = message.stopReason;
    for (const block of content) {
      const part = partOf(block);
      if (!part) continue;
      if (part.kind === "tool") tools.set(part.id, part);
      turn.parts.push(part);
    }
  }
  return turns.filter((turn) => turn.parts.length);
}

function settle(tools, turns, message, content) {
  const known = tools.get(message.toolCallId);
  const part = known || { kind: "tool", id: message.toolCallId, name: message.toolName || "tool", args: {} };
  part.result = content.filter((b) => b.type === "text").map((b) => b.text).join("\n");
  part.media = content.map(partOf).filter((p) => p?.kind === "media");
  part.state = message.isError ? "failed" : "done";
  if (known) return;
  const last = turns[turns.length - 1];
  if (last?.role === "assistant") last.parts.push(part);
  else turns.push({ role: "assistant", at: message.timestamp, parts: [part] });
}

function partOf(block) {
  switch (block.type) {
    case "text": return block.text?.trim() ? { kind: "text", text: block.text } : null;
    case "thinking": return block.thinking?.trim() ? { kind: "thinking", text: block.thinking } : null;
    case "toolCall": return { kind: "tool", id: block.id, name: block.name, args: block.arguments || {}, state: "unknown" };
    case "image": case "audio": case "file": return { kind: "media", type: block.type, name: block.name || block.mimeType || block.type, size: block.bytes };
    default: return null;
  }
}

// --- Elements -----------------------------------------------------------------------

const NAMES = { user: "You", assistant: "Assistant", note: "Gateway" };

/** Return the element of a turn; its parts stand in `.turn-body`. */
export function turnElement(turn) {
  const body = h("div.turn-body", turn.parts.map(partElement));
  const facts = [turn.model, turn.at && clock(turn.at)].filter(Boolean).join(" · ");
  const stopped = turn.role === "assistant" && turn.stop === "aborted" && badge("stopped", "warn");
  return h(`article.turn.${turn.role}`, { "aria-label": NAMES[turn.role] },
    h("header.turn-head", h("span.turn-who", NAMES[turn.role]), h("span.turn-facts", { title: turn.at ? moment(turn.at) : undefined }, facts), stopped),
    body);
}

export function partElement(part) {
  switch (part.kind) {
    case "text": return markdown(part.text);
    case "thinking": return thinking(part);
    case "tool": return tool(part);
    case "media": return media(part);
    default: return h("p.note", part.text);
  }
}

/** Show what has changed in a part that is still being made. */
export function updatePart(element, part) {
  if (part.kind === "text") render(element, part.text);
  else if (part.kind === "thinking") render(element.querySelector(".prose"), part.text);
  else if (part.kind === "tool") toolInto(element, part);
}

function thinking(part) {
  return h("details.thinking", h("summary", icon("brain"), h("span", "Reasoning"), icon("chevron")), markdown(part.text));
}

function media(part) {
  const picture = part.url ? h("img", { src: part.url, alt: part.name }) : icon("file");
  return h("span.media", picture, h("span.cut", part.name), part.size && h("span.muted", bytes(part.size)));
}

const STATES = { running: ["busy", "running"], done: ["ok", "done"], failed: ["bad", "failed"], unknown: ["", "no result"] };

function tool(part) {
  return toolInto(h("details.tool", { data: { call: part.id || "" } }), part);
}

function toolInto(element, part) {
  const [kind, word] = STATES[part.state] || STATES.unknown;
  element.dataset.state = part.state;
  const hint = Object.values(part.args).find((value) => typeof value === "string" && value) || "";
  return fill(element,
    h("summary", icon("tool"), h("span.tool-name", part.name), h("span.tool-hint.cut", short(hint.split("\n")[0], 120)), h(`span.dot${kind ? `.${kind}` : ""}`), h("span.small.muted", word), icon("chevron")),
    h("div.tool-body",
      h("h3", "Arguments"), codeBlock(JSON.stringify(part.args, null, 2), "json"),
      h("h3", "Result"), resultOf(part), part.media?.map(media)));
}

function resultOf(part) {
  if (part.state === "running") return h("p.muted.small", "It is at work.");
  if (!part.result) return h("p.muted.small", part.state === "unknown" ? "There is none." : "It returned no text.");
  return h(`pre.plain${part.state === "failed" ? ".failed" : ""}`, { tabindex: "0" }, part.result);
}
