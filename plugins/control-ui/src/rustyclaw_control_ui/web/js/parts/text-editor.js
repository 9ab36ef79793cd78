// A plain editor for a text of lines, with their numbers and where mistakes are.

import { fill, h } from "../dom.js";

/** Return {element, value, mark(Map of line -> message)}. */
export function textEditor({ value, label, changed }) {
  const numbers = h("div.editor-lines", { "aria-hidden": "true" });
  const area = h("textarea.editor-text", { value, "aria-label": label, spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off" });
  let marks = new Map();
  let count = 0;
  const draw = () => {
    const total = area.value.split("\n").length;
    if (total === count) return;
    count = total;
    fill(numbers, Array.from({ length: total }, (_, n) => h(`span${marks.has(n + 1) ? ".wrong" : ""}`, { title: marks.get(n + 1) }, String(n + 1))));
    area.rows = Math.max(total + 1, 12);
  };
  area.addEventListener("input", () => {
    draw();
    changed(area.value);
  });
  draw();
  return {
    element: h("div.editor", numbers, area),
    get value() {
      return area.value;
    },
    set value(text) {
      area.value = text;
      draw();
    },
    mark(found) {
      marks = found;
      count = 0;
      draw();
    },
    goto(line) {
      const start = area.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
      area.focus();
      area.setSelectionRange(start, start);
      numbers.children[line - 1]?.scrollIntoView({ block: "center" });
    },
  };
}

/** Return the line of a setting such as `agents.list.0.model` in a YAML text; 0: none. */
export function lineOf(text, path) {
  const wanted = path.split(".");
  let best = [0, 0];
  const stack = []; // [indent, key, index of the item in its list]
  text.split("\n").forEach((line, n) => {
    const found = /^(\s*)((?:- +)*)(?:["']?([^"'#:]+)["']?\s*:(?:\s|$))?/.exec(line);
    if (!line.trim() || line.trim().startsWith("#") || (!found[2] && !found[3])) return;
    let indent = found[1].length;
    for (const item of found[2].match(/- +/g) || []) {
      const before = stack.findLast(([at, , index]) => at === indent && index !== undefined);
      while (stack.length && (stack[stack.length - 1][0] > indent || (stack[stack.length - 1][0] === indent && stack[stack.length - 1][2] !== undefined))) stack.pop();
      const index = before ? before[2] + 1 : 0;
      stack.push([indent, String(index), index]);
      indent += item.length;
      compare(n);
    }
    if (found[3]) {
      while (stack.length && (stack[stack.length - 1][0] > indent || (stack[stack.length - 1][0] === indent && stack[stack.length - 1][2] === undefined))) stack.pop();
      stack.push([indent, found[3].trim()]);
      compare(n);
    }
  });
  function compare(n) {
    const keys = stack.map(([, key]) => key);
    const depth = keys.findIndex((key, at) => key !== wanted[at]);
    const same = depth < 0 ? keys.length : depth;
    if (same === keys.length && same > best[0]) best = [same, n + 1];
  }
  return best[1];
}
