// Questions and notices. Dialogs are the browser's own: focus stays inside, Escape
// closes, and the focus returns to where it was.

import { append, button, fill, h, icon, iconButton } from "../dom.js";

/**
 * Show a dialog; resolves with what `close` was called with, or undefined.
 * @param {object} options
 * @param {(close: Function) => any} options.body
 * @param {(close: Function) => any[]} [options.actions]
 */
export function dialog({ title, picture = "info", body, actions, wide = false }) {
  return new Promise((resolve) => {
    const element = h(`dialog.dialog${wide ? ".wide" : ""}`, { "aria-labelledby": "dialog-title" });
    const close = (value) => {
      element.answer = value;
      element.close();
    };
    append(element, [
      h("div.dialog-head", icon(picture), h("h2", { id: "dialog-title" }, title), iconButton("close", "Close", () => close())),
      h("div.dialog-body", body(close)),
      actions && h("div.dialog-foot", actions(close)),
    ]);
    element.addEventListener("close", () => {
      element.remove();
      resolve(element.answer);
    });
    document.body.append(element);
    element.showModal();
    element.querySelector("[autofocus]")?.focus();
  });
}

/** Ask for a yes; `danger` for what cannot be undone. */
export function confirm({ title, text, yes, danger = false, picture = danger ? "alert" : "info", more = null }) {
  return dialog({
    title,
    picture,
    body: () => [h("p", text), more],
    actions: (close) => [
      button("Cancel", () => close(false), { autofocus: danger }),
      button(yes, () => close(true), { kind: danger ? "danger.solid" : "primary", autofocus: !danger }),
    ],
  });
}

/** Ask for one line of text; resolves with undefined if it was cancelled. */
export function prompt({ title, label, value = "", yes = "Save", hint = "", ...props }) {
  const input = h("input.input", { id: "dialog-input", value, autofocus: true, autocomplete: "off", ...props });
  return dialog({
    title,
    picture: "edit",
    body: (close) => h("form.field", { onsubmit: (event) => {
      event.preventDefault();
      close(input.value.trim());
    } }, h("label", { htmlFor: "dialog-input" }, label), input, hint && h("p.hint", hint)),
    actions: (close) => [button("Cancel", () => close()), button(yes, () => close(input.value.trim()), { kind: "primary" })],
  });
}

const region = () => document.getElementById("toasts");

/** Tell of something that has happened; errors stay until they are closed. */
export function toast(text, kind = "") {
  const line = h(`div.toast${kind ? `.${kind}` : ""}`, icon(kind === "bad" ? "alert" : "check"), h("p", text), iconButton("close", "Dismiss", () => line.remove()));
  region().append(line);
  while (region().childElementCount > 4) region().firstElementChild.remove();
  say(text, kind === "bad");
  if (kind !== "bad") setTimeout(() => line.remove(), 5000);
}

/** Have a screen reader say something, once. */
export function say(text, urgent = false) {
  const live = document.getElementById(urgent ? "urgent" : "polite");
  fill(live);
  setTimeout(() => fill(live, text), 50);
}

/** Run what may fail, and tell people if it does; returns whether it went well. */
export async function attempt(work, done = "") {
  try {
    await work();
    if (done) toast(done);
    return true;
  } catch (error) {
    toast(error.message || String(error), "bad");
    return false;
  }
}
