// The life of a message: the seventeen hooks in their order, as they are called.

import { badge, button, failure, fill, h } from "../dom.js";
import { sessionName, span } from "../format.js";

/** The order of a message's life; what each says comes from the gateway. */
const STAGES = [
  ["The gateway wakes", ["gateway_start"]],
  ["A message arrives", ["message_received", "session_start"]],
  ["The assistant thinks", ["before_agent_start", "llm_input", "llm_output"]],
  ["It acts", ["before_tool_call", "after_tool_call", "tool_result_persist"]],
  ["It makes room", ["before_compaction", "after_compaction"]],
  ["It answers", ["agent_end", "message_sending", "message_sent"]],
  ["It begins anew", ["before_reset", "session_end"]],
  ["The gateway sleeps", ["gateway_stop"]],
];
const MOST = 300;
const GLOW = 1600;
const OUTCOMES = { ok: "ok", changed: "note", veto: "bad", ask: "warn", error: "bad", timeout: "bad", cancelled: "warn" };

export default function mount({ view, app, scope }) {
  const nodes = new Map();
  let calls = 0;
  let first = 0;
  let last = 0;
  const stream = h("ol.calls", { tabindex: "0", "aria-label": "Calls, the newest first" });
  const hint = h("p.muted", "Say something, here or on any channel, and watch it pass.");
  const river = h("ol.river");
  fill(view,
    h("header.page-head", h("div.grow", h("h1", "Life of a message"), h("p", "Seventeen hooks, in the order in which a message meets them. Plugins on a hook are told, may change things, or may say no.")),
      button("Send a message", () => ping(), { kind: "primary", picture: "send" }),
      button("Clear", () => clear(), { picture: "trash" })),
    h("div.life", h("section.stack", { "aria-label": "Hooks" }, river), h("section.card.life-calls", h("div.card-head", h("h2", "Calls"), h("span.small.muted", { id: "calls", role: "status" })), hint, stream)));
  build([]);

  async function load() {
    if (!app.gateway.has("hooks.list")) return;
    try {
      const answer = await app.call("hooks.list");
      if (!scope.over) build(answer.hooks || []);
    } catch (error) {
      if (!scope.over) fill(river, failure(error, load));
    }
  }

  function build(hooks) {
    const known = new Map(hooks.map((hook) => [hook.name, hook]));
    nodes.clear();
    let number = 0;
    fill(river, STAGES.map(([title, names]) => h("li.stage", h("h2", title), h("ol", names.map((name) => {
      number += 1;
      const node = hookElement(number, name, known.get(name));
      nodes.set(name, node);
      return node.element;
    })))));
  }

  function hookElement(number, name, facts) {
    const total = h("span.hook-count");
    const seen = h("span.hook-seen.muted.small");
    const plugins = h("span.hook-plugins", (facts?.plugins || []).map(({ name: plugin, faults }) => h(`span.badge${faults ? ".bad" : ""}`, { data: { on: plugin }, title: faults ? `${faults} faults` : undefined }, plugin)));
    const element = h("li.hook", { data: { hook: name } }, h("span.hook-number", String(number)),
      h("div.grow", h("p.row.wrap", h("code.strong", name), facts?.kind && badge(facts.kind, { guard: "warn", transform: "note" }[facts.kind] || "")), facts?.description && h("p.small.muted", facts.description), plugins),
      h("div.hook-figures", total, seen));
    return { element, total, seen, plugins, count: 0, timer: 0 };
  }

  function fire(call) {
    const node = nodes.get(call.hook);
    if (!node) return;
    const { element } = node;
    node.count += 1;
    node.total.textContent = node.count === 1 ? "1 call" : `${node.count} calls`;
    node.seen.textContent = span(call.seconds || 0);
    element.dataset.live = OUTCOMES[call.outcome] || "ok";
    clearTimeout(node.timer);
    node.timer = setTimeout(() => delete element.dataset.live, GLOW);
    if (call.plugin && !node.plugins.querySelector(`[data-on="${CSS.escape(call.plugin)}"]`)) node.plugins.append(h("span.badge", { data: { on: call.plugin } }, call.plugin));
    log(call);
  }

  function log(call) {
    hint.hidden = true;
    calls += 1;
    const at = call.ts || Date.now();
    if (!last || at - last > 10_000) first = at;
    last = at;
    document.getElementById("calls").textContent = calls === 1 ? "1 call" : `${calls} calls`;
    stream.prepend(h("li.call", h("span.call-time.mono.small.muted", `+${((at - first) / 1000).toFixed(2)} s`), h(`span.dot.${OUTCOMES[call.outcome] || "ok"}`),
      h("div.grow", h("p.cut", h("code", call.hook), h("span.muted", ` ${call.plugin}`)), h("p.small.muted.cut", [call.outcome, call.sessionKey && sessionName({ key: call.sessionKey })].filter(Boolean).join(" · "))),
      h("span.small.muted.mono", span(call.seconds || 0))));
    while (stream.childElementCount > MOST) stream.lastElementChild.remove();
  }

  function clear() {
    fill(stream);
    calls = last = 0;
    hint.hidden = false;
    document.getElementById("calls").textContent = "";
    for (const node of nodes.values()) {
      node.count = 0;
      fill(node.total);
      fill(node.seen);
    }
  }

  async function ping() {
    hint.textContent = "A message is on its way.";
    try {
      await app.call("chat.send", { sessionKey: app.canonical("life-of-a-message"), message: "hello", idempotencyKey: crypto.randomUUID() });
    } catch (error) {
      hint.hidden = false;
      hint.textContent = error.message;
    }
  }

  scope.reload(load);
  scope.on("hook", fire);
}
