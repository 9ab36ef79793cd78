// A form for a JSON Schema. It edits a draft in place; what is not set stays unset, so
// that the file says only what somebody chose to say.

import { badge, button, fill, h, iconButton } from "../dom.js";
import { inline } from "../markdown.js";
import { confirm, prompt } from "./dialog.js";

export const HIDDEN = "__OPENCLAW_REDACTED__";

const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export class SchemaForm {
  /**
   * @param {object} draft what the file says; changed in place
   * @param {object} original the same before any change
   * @param {() => void} changed called after each change
   */
  constructor({ draft, original, hints, changed }) {
    Object.assign(this, { draft, original, hints: hints || {}, changed });
    this.errors = new Map();
    this.opened = new Map();
  }

  get(path) {
    return path.reduce((value, key) => (value === null || value === undefined ? undefined : value[key]), this.draft);
  }

  /** Set a value; undefined unsets it, and the sections above that this leaves empty. */
  set(path, value) {
    let place = this.draft;
    for (const key of path.slice(0, -1)) {
      if (place[key] === null || place[key] === undefined) {
        if (value === undefined) return;
        place[key] = {};
      }
      place = place[key];
    }
    const last = path[path.length - 1];
    if (value === undefined) {
      delete place[last];
      const parent = path.slice(0, -1);
      const was = parent.reduce((v, key) => v?.[key], this.original);
      if (parent.length && isMap(place) && !Object.keys(place).length && was === undefined) this.set(parent, undefined);
    } else place[last] = value;
    this.errors.delete(path.join("."));
    this.changed();
  }

  error(path) {
    return this.errors.get(path.join("."));
  }

  // --- Fields -----------------------------------------------------------------------

  /** Return the fields of a section. */
  section(schema, path) {
    const kind = kindOf(schema);
    return isMap(kind.schema.properties) || kind.type === "object" ? this.object(kind.schema, path) : this.field(schema, path);
  }

  object(schema, path) {
    const named = Object.entries(schema.properties || {});
    const value = this.get(path);
    const others = isMap(value) ? Object.keys(value).filter((key) => !schema.properties?.[key]) : [];
    const simple = named.filter(([, child]) => !isGroup(child));
    const groups = named.filter(([, child]) => isGroup(child));
    const open = schema.additionalProperties !== false && schema.additionalProperties !== undefined;
    const more = typeof schema.additionalProperties === "object" ? schema.additionalProperties : {};
    return h("div.form-object",
      simple.length > 0 && h("div.form-fields", simple.map(([key, child]) => this.field(child, [...path, key], key))),
      groups.map(([key, child], n) => this.group(child, [...path, key], key, false, n === 0 && !simple.length)),
      others.map((key) => this.group(more, [...path, key], key, true)),
      open && h("div.row", button("Add", () => this.addNamed(path), { picture: "plus" })));
  }

  async addNamed(path) {
    const name = await prompt({ title: `Add to ${path.join(".")}`, label: "Name", yes: "Add", pattern: "[A-Za-z0-9_.-]+" });
    if (!name || this.get([...path, name]) !== undefined) return;
    this.set([...path, name], {});
    this.redraw?.();
  }

  group(schema, path, name, removable = false, first = false) {
    const kind = kindOf(schema);
    const isSet = this.get(path) !== undefined;
    const removes = removable || (isSet && path.length === 2);
    const remove = removes && iconButton("trash", `Remove ${path.join(".")}`, async (event) => {
      event.preventDefault();
      if (!(await confirm({ title: `Remove ${path.join(".")}?`, text: "All its settings are taken out of the file once you save.", yes: "Remove", danger: true }))) return;
      this.set(path, undefined);
      this.redraw?.();
    });
    const place = h("div.form-group-body");
    const open = this.opened.get(path.join(".")) ?? first;
    const element = h("details.form-group", { data: { path: path.join(".") }, open: open || this.hasError(path), ontoggle: () => {
      this.opened.set(path.join("."), element.open);
      if (element.open && !place.childNodes.length) draw();
    } }, h("summary", h("span.grow", h("span.strong", label(this.hints, path, name)), describe(schema) && h("span.small.muted", " ", inline(describe(schema)))), isSet ? badge("set", "accent") : badge("default"), remove), place);
    const draw = () => fill(place, kind.type === "objects" ? this.list(kind.schema, path) : this.section(schema, path));
    if (element.open) draw();
    return element;
  }

  hasError(path) {
    const prefix = path.join(".");
    return [...this.errors.keys()].some((key) => key === prefix || key.startsWith(`${prefix}.`));
  }

  /** A list of things with fields of their own. */
  list(schema, path) {
    const items = Array.isArray(this.get(path)) ? this.get(path) : [];
    return h("div.stack", items.map((item, index) => h("fieldset.form-item", h("legend", item?.id || item?.name || `Number ${index + 1}`), this.section(schema.items || {}, [...path, index]),
      h("div.row.end", button("Remove", () => {
        this.set(path, items.filter((_, n) => n !== index));
        this.redraw?.();
      }, { kind: "ghost", picture: "trash" })))),
    h("div.row", button("Add", () => {
      this.set(path, [...items, {}]);
      this.redraw?.();
    }, { picture: "plus" })));
  }

  field(schema, path, name = String(path[path.length - 1])) {
    const id = `field-${path.join("-")}`;
    const kind = kindOf(schema);
    const error = this.error(path);
    const control = this.control(kind, path, { id, "aria-describedby": `${id}-hint`, "aria-invalid": error ? "true" : undefined });
    return h(`div.field${kind.type === "json" || kind.type === "array" ? ".whole" : ""}`, { data: { field: path.join(".") } }, h("label", { htmlFor: id }, label(this.hints, path, name)), control,
      h("p.hint", { id: `${id}-hint` }, inline(describe(schema))), error && h("p.error", error));
  }

  control(kind, path, props) {
    const value = this.get(path);
    const { schema } = kind;
    const fallback = schema.default ?? kind.fallback;
    const choose = (options) => h("select.select", { ...props, onchange: (event) => this.set(path, options[event.target.selectedIndex][1]) }, options.map(([text, v]) => h("option", { selected: v === value }, text)));
    const none = [`Default${fallback === undefined || fallback === null ? "" : ` (${words(fallback)})`}`, undefined];
    switch (kind.type) {
      case "boolean": return choose([none, ["Yes", true], ["No", false]]);
      case "enum": return choose([none, ...schema.enum.map((v) => [String(v), v])]);
      case "secret": return this.secret(path, value, props);
      case "integer": case "number": return h("input.input", { ...props, type: "number", step: kind.type === "integer" ? "1" : "any", value: value ?? "", placeholder: words(fallback), oninput: (event) => this.set(path, event.target.value === "" ? undefined : Number(event.target.value)) });
      case "string": return h("input.input", { ...props, value: value ?? "", placeholder: words(fallback), autocomplete: "off", spellcheck: "false", oninput: (event) => this.set(path, event.target.value === "" ? undefined : event.target.value) });
      case "array": return h("textarea.area.mono", { ...props, rows: Math.min(8, (value?.length || 0) + 2), value: (value || []).join("\n"), placeholder: Array.isArray(fallback) && fallback.length ? fallback.join("\n") : "one a line", spellcheck: "false", oninput: (event) => {
        const items = event.target.value.split("\n").map((line) => line.trim()).filter(Boolean);
        this.set(path, items.length ? items.map((item) => scalar(item, schema.items)) : undefined);
      } });
      default: return this.json(path, value, props);
    }
  }

  secret(path, value, props) {
    const isSet = value === HIDDEN;
    const input = h("input.input", { ...props, type: "password", autocomplete: "new-password", value: isSet ? "" : value ?? "", placeholder: isSet ? "set; type to replace it" : "not set", oninput: () => this.set(path, input.value || (isSet ? HIDDEN : undefined)) });
    if (!isSet) return input;
    return h("div.row", input, iconButton("trash", `Remove ${path.join(".")}`, () => {
      this.set(path, undefined);
      this.redraw?.();
    }));
  }

  json(path, value, props) {
    const area = h("textarea.area.mono", { ...props, rows: 3, spellcheck: "false", value: value === undefined ? "" : JSON.stringify(value, null, 2), oninput: () => {
      try {
        this.set(path, area.value.trim() ? JSON.parse(area.value) : undefined);
        area.removeAttribute("aria-invalid");
      } catch {
        area.setAttribute("aria-invalid", "true");
      }
    } });
    return area;
  }
}

/** Return {type, schema}: what a schema means for a form, apart from being optional. */
export function kindOf(node) {
  const choices = (node.anyOf || node.oneOf || []).filter((one) => one.type !== "null");
  const schema = choices.length === 1 ? { ...choices[0], ...(node.default !== undefined && { default: node.default }) } : choices.length > 1 ? {} : node;
  if (node.writeOnly || choices.some((one) => one.writeOnly)) return { type: "secret", schema };
  if (schema.enum) return { type: "enum", schema };
  if (schema.const !== undefined) return { type: "enum", schema: { ...schema, enum: [schema.const] } };
  if (schema.type === "array") {
    const inner = kindOf(schema.items || {}).type;
    return { type: ["string", "integer", "number", "enum"].includes(inner) ? "array" : inner === "object" ? "objects" : "json", schema };
  }
  if (["boolean", "integer", "number", "string"].includes(schema.type)) return { type: schema.type, schema };
  if (schema.type === "object" && (schema.properties || schema.additionalProperties)) return { type: "object", schema };
  return { type: "json", schema };
}

const isGroup = (node) => ["object", "objects"].includes(kindOf(node).type);
const describe = (node) => node.description || kindOf(node).schema.description || "";
const label = (hints, path, name) => hints[path.filter((key) => typeof key === "string").join(".")]?.label || String(name).replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());

function words(value) {
  if (value === undefined || value === null) return "";
  if (value === true || value === false) return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function scalar(text, items) {
  const type = kindOf(items || {}).type;
  return ["integer", "number"].includes(type) && text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}
