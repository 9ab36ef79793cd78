// The configuration: a form for who does not want to know YAML, YAML for who does.

import { button, busy, empty, failure, fill, h, icon, skeleton } from "../dom.js";
import { around, equal, lines, patchOf } from "../diff.js";
import { attempt, confirm, dialog, toast } from "../parts/dialog.js";
import { HIDDEN, kindOf, SchemaForm } from "../parts/schema-form.js";
import { lineOf, textEditor } from "../parts/text-editor.js";

/** What was not saved yet survives a look at another page. */
const kept = { hash: "", draft: null, text: null, opened: new Map() };

export default function mount({ view, app, scope, argument }) {
  new ConfigPage(view, app, scope, argument);
}

class ConfigPage {
  constructor(view, app, scope, section) {
    Object.assign(this, { app, scope, section, mode: "form", issues: [] });
    this.tabs = h("div.segments", { role: "group", "aria-label": "Editor" }, [["form", "Form"], ["yaml", "YAML"]].map(([mode, label]) => h("button", { type: "button", data: { mode }, onclick: () => this.show(mode) }, label)));
    this.problems = h("div.stack");
    this.body = h("div", skeleton(4));
    this.foot = h("div.save-bar", { hidden: true });
    fill(view, h("header.page-head", h("div.grow", h("h1", "Config"), (this.path = h("p.mono.small.wrap"))), this.tabs, button("Restart", (event) => busy(event.currentTarget, () => this.restart()), { picture: "power" })), this.problems, this.body, this.foot);
    scope.reload(() => this.load());
    scope.on("config.changed", ({ hash }) => !this.saving && hash !== this.file?.hash && this.changedElsewhere());
    const ask = (event) => this.dirty && event.preventDefault();
    addEventListener("beforeunload", ask);
    scope.add(() => removeEventListener("beforeunload", ask));
  }

  async load() {
    try {
      const [file, schema] = await Promise.all([this.app.call("config.get"), this.app.call("config.schema", {}, { timeout: 60_000 })]);
      if (this.scope.over) return;
      Object.assign(this, { file, schema: schema.schema, hints: schema.uiHints || {} });
      if (kept.hash !== file.hash) Object.assign(kept, { hash: file.hash, draft: structuredClone(file.parsed || {}), text: file.raw });
      kept.draft ||= structuredClone(file.parsed || {});
      kept.text ??= file.raw;
      this.path.textContent = file.path;
      this.issues = file.issues || [];
      if (this.issues.length) this.mode = "yaml";
      this.show(this.mode);
    } catch (error) {
      if (!this.scope.over && !this.file) fill(this.body, failure(error, () => this.load()));
    }
  }

  get dirty() {
    if (!this.file) return false;
    return this.mode === "form" ? !equal(kept.draft, this.file.parsed || {}) : kept.text !== this.file.raw;
  }

  show(mode) {
    if (!this.file) return void (this.mode = mode); // it is still on its way
    if (mode !== this.mode && this.dirty) {
      toast("Save or discard your changes before you switch.", "bad");
      return;
    }
    this.mode = mode;
    for (const tab of this.tabs.children) tab.setAttribute("aria-pressed", String(tab.dataset.mode === mode));
    if (mode === "form") this.showForm();
    else this.showText();
    this.showProblems();
    this.touched();
  }

  // --- Form -------------------------------------------------------------------------

  showForm() {
    const sections = Object.entries(this.schema.properties || {}).sort(([a], [b]) => (this.hints[a]?.order ?? 999) - (this.hints[b]?.order ?? 999));
    const current = sections.find(([name]) => name === this.section) || sections[0];
    if (!current) return fill(this.body, empty("config", "There is no schema", "Edit the file as YAML."));
    const [name, schema] = current;
    this.section = name;
    const form = new SchemaForm({ draft: kept.draft, original: this.file.parsed || {}, hints: this.hints, changed: () => this.touched() });
    form.opened = kept.opened;
    form.redraw = () => this.showForm();
    for (const issue of this.issues) form.errors.set(issue.path, issue.message);
    const choose = (next) => {
      this.section = next;
      history.replaceState(null, "", `#/config/${next}`);
      this.showForm();
    };
    const wrong = (key) => this.issues.some((issue) => issue.path === key || issue.path.startsWith(`${key}.`));
    return fill(this.body, h("div.config",
      h("nav.config-nav", { "aria-label": "Sections" }, sections.map(([key]) => h("button", { type: "button", "aria-current": key === name ? "true" : undefined, onclick: () => choose(key) }, h("span.grow", this.hints[key]?.label || key), wrong(key) && h("span.dot.bad", { role: "img", "aria-label": "has a mistake" }), kept.draft[key] !== undefined && h("span.dot", { title: "set in the file" })))),
      h("select.select.config-select", { "aria-label": "Section", onchange: (event) => choose(event.target.value) }, sections.map(([key]) => h("option", { value: key, selected: key === name }, this.hints[key]?.label || key))),
      h("section.card", { "aria-label": name }, h("div.card-head", h("h2", this.hints[name]?.label || name)), schema.description && h("p.muted", schema.description),
        kindOf(schema).type === "objects" ? form.list(kindOf(schema).schema, [name]) : form.section(schema, [name]))));
  }

  // --- YAML -------------------------------------------------------------------------

  showText() {
    if (this.file.raw === null) return fill(this.body, h("div.card", empty("alert", "The file cannot be shown", "It is no readable YAML, so nobody can tell where its secrets are. Mend it with an editor on the gateway's machine.")));
    this.editor = textEditor({ value: kept.text, label: "Configuration as YAML", changed: (text) => {
      kept.text = text;
      this.touched();
    } });
    this.markLines();
    return fill(this.body, h("div.stack", h("p.small.muted", "Secrets are shown as ", h("code", HIDDEN), "; leave that word where it is and the secret stays."), this.editor.element));
  }

  markLines() {
    const marks = new Map();
    for (const issue of this.issues) {
      const line = this.lineOf(issue);
      if (line) marks.set(line, issue.message);
    }
    this.editor?.mark(marks);
  }

  lineOf(issue) {
    const said = /\bline (\d+)/.exec(issue.message);
    return said ? Number(said[1]) : issue.path ? lineOf(kept.text || "", issue.path) : 0;
  }

  // --- Saving -----------------------------------------------------------------------

  touched() {
    const dirty = this.dirty;
    if (!dirty) return void (this.foot.hidden = true);
    if (!this.foot.hidden) return undefined;
    this.foot.hidden = false;
    return fill(this.foot, h("span.grow.strong", "Not saved yet"),
      button("Discard", () => this.discard(), { kind: "ghost" }),
      button("Review and save", (event) => busy(event.currentTarget, () => this.review()), { kind: "primary", id: "review" }));
  }

  discard() {
    Object.assign(kept, { draft: structuredClone(this.file.parsed || {}), text: this.file.raw });
    this.issues = this.file.issues || [];
    this.show(this.mode);
  }

  async review() {
    const body = this.mode === "form" ? formDiff(this.file.parsed || {}, kept.draft) : textDiff(this.file.raw, kept.text);
    const how = await dialog({
      title: "What changes",
      picture: "edit",
      wide: true,
      body: () => [body, h("p.small.muted", "Most settings hold from the next start of the gateway on.")],
      actions: (close) => [button("Cancel", () => close()), button("Save", () => close("config.set")), button("Save and restart", () => close("config.apply"), { kind: "primary", picture: "power" })],
    });
    if (how) await this.save(how);
  }

  /** Nothing may be typed meanwhile: it would be lost when the new file is shown. */
  async save(method) {
    this.saving = this.body.inert = true;
    try {
      await this.write(method);
    } finally {
      this.saving = this.body.inert = false;
    }
  }

  async write(method) {
    const raw = this.mode === "form" ? JSON.stringify(kept.draft, null, 2) : kept.text;
    const params = { raw, ...(this.file.exists && { baseHash: this.file.hash }) };
    try {
      await this.app.call(method, params, { timeout: 60_000 });
    } catch (error) {
      this.issues = error.details?.issues || [];
      if (!this.issues.length) toast(error.message, "bad");
      this.showProblems();
      if (this.mode === "form") this.showForm();
      else this.markLines();
      return;
    }
    this.issues = [];
    kept.hash = "";
    await this.load();
    toast(method === "config.apply" ? "Saved. The gateway restarts." : "Saved. Restart the gateway for all of it to take effect.");
  }

  showProblems() {
    fill(this.problems, this.issues.length > 0 && h("div.failure", { role: "alert" }, icon("alert"), h("div.grow", h("p.strong", this.issues.length === 1 ? "There is a mistake" : `There are ${this.issues.length} mistakes`),
      h("ul.issues", this.issues.map((issue) => {
        const line = this.mode === "yaml" ? this.lineOf(issue) : 0;
        return h("li", line > 0 && button(`Line ${line}`, () => this.editor.goto(line), { kind: "ghost" }), issue.path && h("code", issue.path), ` ${issue.message}`);
      })))));
  }

  changedElsewhere() {
    if (!this.dirty) return void this.load();
    fill(this.problems, h("div.failure", { role: "status" }, icon("alert"), h("p.grow", "The file was changed by somebody else."), button("Load it, and lose my changes", () => {
      kept.hash = "";
      this.load();
    }, { kind: "danger" })));
    return undefined;
  }

  async restart() {
    const yes = await confirm({ title: "Restart the gateway?", text: "It finishes what it is doing, and is back in a few seconds.", yes: "Restart", danger: true });
    if (!yes) return;
    await attempt(() => this.app.call("config.patch", { raw: "{}", ...(this.file?.exists && { baseHash: this.file.hash }), note: "restart from the Control UI" }, { timeout: 30_000 }), "The gateway restarts.");
  }
}

function textDiff(before, after) {
  const classes = { "+": "plus", "-": "minus", " ": "same" };
  return h("div.diff", { tabindex: "0", role: "region", "aria-label": "Changes" }, around(lines(before, after)).map((pair) => (pair ? h(`div.${classes[pair[0]]}`, `${pair[0]} ${pair[1]}`) : h("div.gap", "···"))));
}

function formDiff(before, after) {
  const said = (value) => (value === undefined ? "not set" : value === HIDDEN ? "(the secret)" : JSON.stringify(value));
  const hide = (path, value) => (typeof value === "string" && value !== HIDDEN && /token|secret|password|key$/i.test(path[path.length - 1]) ? "(a new secret)" : said(value));
  return h("div.diff", { tabindex: "0", role: "region", "aria-label": "Changes" }, patchOf(before, after).changes.map(({ path, before: old, after: now }) => [
    h("div.gap", path.join(".")), old !== undefined && h("div.minus", `- ${said(old)}`), h("div.plus", `+ ${hide(path, now)}`),
  ]));
}
